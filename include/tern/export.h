/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file export.h
 * Marks what the shared library exports and what a caller must not ignore.
 */
#ifndef TERN_EXPORT_H
#define TERN_EXPORT_H

#ifdef __cplusplus
#define TERN_BEGIN_DECLS extern "C" {
#define TERN_END_DECLS   }
#else
#define TERN_BEGIN_DECLS
#define TERN_END_DECLS
#endif

#if defined(__GNUC__) || defined(__clang__)
#define TERN_API        __attribute__((visibility("default")))
#define TERN_MUST_CHECK __attribute__((warn_unused_result))
#else
#define TERN_API
#define TERN_MUST_CHECK
#endif

#endif
