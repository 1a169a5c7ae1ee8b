// One instruction set: compiled several times, with ISA its name and the flags that go with it.
#include "normalize.h"

#define NAME_OF(isa) kernels_##isa
#define EXPAND(isa) NAME_OF(isa)
#define TEXT_OF(isa) #isa
#define TEXT(isa) TEXT_OF(isa)

namespace {

void any_paste(const Job& job, const Visit* visits, int64_t count, char* kept, Tap* taps,
               int64_t begin, int64_t end) {
  switch (job.type) {
    case F64:
      return paste_rows<Number<F64>>(job, visits, count, kept, taps, begin, end);
    case F32:
      return paste_rows<Number<F32>>(job, visits, count, kept, taps, begin, end);
    case F16:
      return paste_rows<Number<F16>>(job, visits, count, kept, taps, begin, end);
    case BF16:
      return paste_rows<Number<BF16>>(job, visits, count, kept, taps, begin, end);
    case U8:
      return paste_rows<Number<U8>>(job, visits, count, kept, taps, begin, end);
    case I8:
      return paste_rows<Number<I8>>(job, visits, count, kept, taps, begin, end);
    case U16:
      return paste_rows<Number<U16>>(job, visits, count, kept, taps, begin, end);
    case I16:
      return paste_rows<Number<I16>>(job, visits, count, kept, taps, begin, end);
    case TYPES:
      return;
  }
}

void any_normalize(const Normalize& job, const Visit* visits, int64_t count) {
  if (job.type == F32) normalize<Number<F32>>(job, visits, count);
  if (job.type == F16) normalize<Number<F16>>(job, visits, count);
  if (job.type == BF16) normalize<Number<BF16>>(job, visits, count);
}

void stream_copy(char* to, const char* from, int64_t bytes) {
  stream(to, from, bytes);
  fence();
}

}  // namespace

extern const Kernels EXPAND(ISA) = {TEXT(ISA), any_paste, any_normalize, stream_copy};
