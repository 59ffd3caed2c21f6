/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions: money moves between two keyspaces at once or not at all; of two that touch the same
 * key the second is told TERN_CONFLICT and tries again; a savepoint takes back a part.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/tern.h>

static void check(tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(error, line, sizeof(line));
        (void)fprintf(stderr, "%s\n", line);
        exit(1);
    }
}

struct bank {
    tern_db *db;
    tern_keyspace *savings;
    tern_keyspace *current;
};

static tern_status read_amount(tern_txn *txn, tern_keyspace *keyspace, const char *name,
                               long *out_amount) {
    char text[32];
    size_t size;
    tern_status status =
        tern_txn_get(txn, keyspace, tern_slice_str(name), text, sizeof(text) - 1, &size);
    if (status == TERN_OK) {
        text[size] = '\0';
        *out_amount = strtol(text, NULL, 10);
    }
    return status;
}

static tern_status write_amount(tern_txn *txn, tern_keyspace *keyspace, const char *name,
                                long amount) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%ld", amount);
    return tern_txn_put(txn, keyspace, tern_slice_str(name), tern_slice_str(text), NULL);
}

/* One attempt; does not commit. */
static tern_status move(tern_txn *txn, const struct bank *bank, const char *name, long amount) {
    long saved = 0;
    long spendable = 0;
    tern_status status = read_amount(txn, bank->savings, name, &saved);
    if (status == TERN_OK) {
        status = read_amount(txn, bank->current, name, &spendable);
    }
    if (status == TERN_OK) {
        status = write_amount(txn, bank->savings, name, saved - amount);
    }
    return status == TERN_OK ? write_amount(txn, bank->current, name, spendable + amount) : status;
}

/* The usual loop: on a conflict begin anew, with a new snapshot, on the same handle. */
static void move_until_done(const struct bank *bank, const char *name, long amount) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    check(tern_txn_begin(bank->db, NULL, &txn, &error), &error);
    for (;;) {
        tern_status status = move(txn, bank, name, amount);
        if (status == TERN_OK) {
            status = tern_txn_commit(txn);
        }
        if (status != TERN_CONFLICT) {
            check(status, tern_txn_error(txn));
            break;
        }
        check(tern_txn_restart(txn), tern_txn_error(txn));
    }
    tern_txn_free(txn);
}

static void print_balance(const struct bank *bank, const char *when) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    long saved = 0;
    long spendable = 0;
    options.read_only = true; /* a snapshot: never blocks, never conflicts */
    check(tern_txn_begin(bank->db, &options, &txn, &error), &error);
    check(read_amount(txn, bank->savings, "ada", &saved), tern_txn_error(txn));
    check(read_amount(txn, bank->current, "ada", &spendable), tern_txn_error(txn));
    printf("%-22s savings %4ld, current %4ld\n", when, saved, spendable);
    tern_txn_free(txn);
}

static void show_conflict(const struct bank *bank) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *first;
    tern_txn *second;
    check(tern_txn_begin(bank->db, NULL, &first, &error), &error);
    check(tern_txn_begin(bank->db, NULL, &second, &error), &error);
    check(move(first, bank, "ada", 10), tern_txn_error(first));
    check(move(second, bank, "ada", 20), tern_txn_error(second));
    check(tern_txn_commit(first), tern_txn_error(first));
    tern_status status = tern_txn_commit(second);
    printf("second committer: %s\n", tern_status_text(status));
    tern_txn_free(first);
    tern_txn_free(second);
}

static void show_savepoint(const struct bank *bank) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    uint32_t savepoint;
    check(tern_txn_begin(bank->db, NULL, &txn, &error), &error);
    check(move(txn, bank, "ada", 50), tern_txn_error(txn));
    check(tern_txn_savepoint(txn, &savepoint), tern_txn_error(txn));
    check(move(txn, bank, "ada", 1000), tern_txn_error(txn));
    check(tern_txn_rollback_to(txn, savepoint), tern_txn_error(txn)); /* second thoughts */
    check(tern_txn_commit(txn), tern_txn_error(txn));
    tern_txn_free(txn);
}

int main(void) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    struct bank bank;
    options.create_if_missing = true;
    options.durability = TERN_DURABILITY_FULL; /* acknowledged means on stable storage */
    check(tern_open("bank.tern", &options, &bank.db, &error), &error);
    if (tern_keyspace_open(bank.db, "savings", &bank.savings, &error) != TERN_OK) {
        check(tern_keyspace_create(bank.db, "savings", NULL, &bank.savings, &error), &error);
    }
    if (tern_keyspace_open(bank.db, "current", &bank.current, &error) != TERN_OK) {
        check(tern_keyspace_create(bank.db, "current", NULL, &bank.current, &error), &error);
    }
    check(tern_put(bank.savings, tern_slice_str("ada"), tern_slice_str("500"), NULL, &error),
          &error);
    check(tern_put(bank.current, tern_slice_str("ada"), tern_slice_str("20"), NULL, &error),
          &error);

    print_balance(&bank, "at first:");
    move_until_done(&bank, "ada", 100);
    print_balance(&bank, "after moving 100:");
    show_conflict(&bank);
    print_balance(&bank, "after the conflict:");
    show_savepoint(&bank);
    print_balance(&bank, "after the savepoint:");
    check(tern_close(bank.db, &error), &error);
    return 0;
}
