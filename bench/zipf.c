/* SPDX-License-Identifier: Apache-2.0 */
#include "zipf.h"

#include <math.h>

void zipf_init(struct zipf *zipf, uint64_t count, double theta) {
    double zeta = 0.0;
    for (uint64_t i = 1; i <= count; i++)
        zeta += pow((double)i, -theta);
    double zeta_two = 1.0 + pow(2.0, -theta);
    zipf->count = count;
    zipf->theta = theta;
    zipf->zeta_count = zeta;
    zipf->alpha = 1.0 / (1.0 - theta);
    zipf->eta = (1.0 - pow(2.0 / (double)count, 1.0 - theta)) / (1.0 - zeta_two / zeta);
    zipf->second_limit = zeta_two;
}

uint64_t zipf_next(const struct zipf *zipf, struct rng *rng) {
    double unit = rng_unit(rng);
    double scaled = unit * zipf->zeta_count;
    if (scaled < 1.0 || zipf->count == 1)
        return 0;
    if (scaled < zipf->second_limit)
        return 1;
    double item = (double)zipf->count * pow(zipf->eta * unit - zipf->eta + 1.0, zipf->alpha);
    uint64_t chosen = (uint64_t)item;
    return chosen < zipf->count ? chosen : zipf->count - 1;
}
