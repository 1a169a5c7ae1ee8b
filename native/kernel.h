// The kernel as the module calls it.
#pragma once
#include "job.h"

// Run `job` for partners [rows], rows of x where `own_partners`, else of another array.
void run(const Job& job, const int32_t* partner, int64_t rows, bool own_partners, int threads);
void run(const Normalize& job, int64_t rows, int threads);

// The instruction set in use: the best of the machine, or the one asked for by name.
const Kernels& kernels();
bool choose(const char* name);
