// One instruction set: compiled several times, with ISA its name and the flags that go with it.
#include "widen.h"

#define NAME_OF(isa) kernels_##isa
#define EXPAND(isa) NAME_OF(isa)
#define TEXT_OF(isa) #isa
#define TEXT(isa) TEXT_OF(isa)

namespace {

void any_mix(const Job& job, const Visit* visits, int64_t count, const Scratch& scratch,
             int64_t begin, int64_t end) {
  switch (job.type) {
    case F64: return mix<Number<F64>>(job, visits, count, scratch, begin, end);
    case F32: return mix<Number<F32>>(job, visits, count, scratch, begin, end);
    case F16: return mix<Number<F16>>(job, visits, count, scratch, begin, end);
    case BF16: return mix<Number<BF16>>(job, visits, count, scratch, begin, end);
    case U8: return mix<Number<U8>>(job, visits, count, scratch, begin, end);
    case I8: return mix<Number<I8>>(job, visits, count, scratch, begin, end);
    case U16: return mix<Number<U16>>(job, visits, count, scratch, begin, end);
    case I16: return mix<Number<I16>>(job, visits, count, scratch, begin, end);
    case TYPES: return;
  }
}

void any_widen(const Widen& job, const Visit* visits, int64_t count, const Scratch& scratch) {
  if (job.type == F32) widen<Number<F32>>(job, visits, count, scratch);
  if (job.type == F16) widen<Number<F16>>(job, visits, count, scratch);
  if (job.type == BF16) widen<Number<BF16>>(job, visits, count, scratch);
}

void stream_copy(char* to, const char* from, int64_t bytes) {
  stream(to, from, bytes);
  fence();
}

}  // namespace

extern const Kernels EXPAND(ISA) = {TEXT(ISA), any_mix, any_widen, stream_copy};
