// uint8 rows [H, W, C], mixed and normalised in one pass: v -> v * scale[c] + bias[c], [C, H, W].
#pragma once
#include "shaped.h"

namespace {

// Pixels to planes of `plane` elements each: x w + bias, or with a partner x w + (o v + bias).
inline void planes_tail(float* to, int64_t plane, const uint8_t* x, const uint8_t* o,
                        const float* w, const float* v, const float* bias, int64_t channels,
                        int64_t begin, int64_t end) {
  for (int64_t c = 0; c < channels; c++) {
    float* out = to + c * plane;
    for (int64_t k = begin; k < end; k++) {
      const float own = x[k * channels + c] * w[c];
      out[k] = own + (o ? o[k * channels + c] * v[c] + bias[c] : bias[c]);
    }
  }
}

constexpr int64_t PREFETCH = 1024;  // prefetch distance, in bytes

// A register of RGB pixels, four per 128-bit lane; one shuffle extracts and zero-extends a channel.
// Compilers do not find this from three strided loads. (A masked load would need no bytes to spare,
// and takes twice as long.)
#if defined(__AVX512BW__)
struct Pixels {
  using F = __m512;
  static constexpr int64_t count = 16, read = 64;  // pixels, bytes
  __m512i v;
  explicit Pixels(const uint8_t* p)
      : v(_mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11),
            _mm512_loadu_si512(p))) {}
  F channel(int c) const {
    const __m512i at =
        _mm512_set4_epi32(~0xff | (9 + c), ~0xff | (6 + c), ~0xff | (3 + c), ~0xff | c);
    return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(v, at));
  }
};
inline __m512 all(float f) { return _mm512_set1_ps(f); }
inline __m512 times(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
inline __m512 plus(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
inline void write(float* to, __m512 v) { _mm512_storeu_ps(to, v); }
#elif defined(__AVX2__)
struct Pixels {
  using F = __m256;
  static constexpr int64_t count = 8, read = 32;
  __m256i v;
  explicit Pixels(const uint8_t* p)
      : v(_mm256_permutevar8x32_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                                      _mm256_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5))) {}
  F channel(int c) const {
    const int d[4] = {~0xff | c, ~0xff | (3 + c), ~0xff | (6 + c), ~0xff | (9 + c)};
    const __m256i at = _mm256_setr_epi32(d[0], d[1], d[2], d[3], d[0], d[1], d[2], d[3]);
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, at));
  }
};
inline __m256 all(float f) { return _mm256_set1_ps(f); }
inline __m256 times(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
inline __m256 plus(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
inline void write(float* to, __m256 v) { _mm256_storeu_ps(to, v); }
#endif

// `readable`: pixels of the row, which end the memory that may be read.
inline void planes(float* to, int64_t plane, const uint8_t* x, const uint8_t* o, const float* w,
                   const float* v, const float* bias, int64_t channels, int64_t begin, int64_t end,
                   int64_t readable) {
  int64_t k = begin;
#ifdef __AVX2__
  constexpr int64_t count = Pixels::count, spare = (Pixels::read - 3 * count + 2) / 3;
  const int64_t last = (end < readable - spare ? end : readable - spare) - count;
  if (channels == 3 && begin <= last) {
    const Pixels::F ws[3] = {all(w[0]), all(w[1]), all(w[2])},
                    vs[3] = {all(v[0]), all(v[1]), all(v[2])};
    const Pixels::F bs[3] = {all(bias[0]), all(bias[1]), all(bias[2])};
    for (;;) {
      __builtin_prefetch(x + 3 * k + PREFETCH);
      if (o) __builtin_prefetch(o + 3 * k + PREFETCH);
      const Pixels own(x + 3 * k), theirs = o ? Pixels(o + 3 * k) : own;
#pragma GCC unroll 3
      for (int c = 0; c < 3; c++) {
        const Pixels::F sum = o ? plus(times(theirs.channel(c), vs[c]), bs[c]) : bs[c];
        write(to + c * plane + k, plus(times(own.channel(c), ws[c]), sum));
      }
      k += count;
      if (k - count == last) break;
      if (k > last) k = last;  // some pixels once more, so that none is left over
    }
  }
#endif
  planes_tail(to, plane, x, o, w, v, bias, channels, k, end);
}

// Floats to the type of the output.
template <class E>
const char* narrowed(const float* from, char* to, int64_t n) {
  T<E>* out = as<E>(to);
  for (int64_t k = 0; k < n; k++) out[k] = E::put(from[k]);
  return to;
}
template <>
const char* narrowed<Number<F32>>(const float* from, char*, int64_t) {
  return reinterpret_cast<const char*>(from);
}
#ifdef __F16C__
template <>
const char* narrowed<Number<F16>>(const float* from, char* to, int64_t n) {
  uint16_t* out = reinterpret_cast<uint16_t*>(to);
  int64_t k = 0;
  for (; k + 8 <= n; k += 8) write8(out + k, _mm256_loadu_ps(from + k));
  for (; k < n; k++) out[k] = Half::put(from[k]);
  return to;
}
#endif

// One row, in blocks of pixels that are assembled in the cache.
template <class E>
void normalize_row(const Normalize& job, int32_t row) {
  const int32_t* box = job.box + row * 4;
  const int64_t pixels = job.height * job.width, channels = job.channels;
  const int64_t step = BLOCK / 4 / channels / 16 * 16;  // MAX_CHANNELS make 128
  const uint8_t *x = job.x[row], *o = job.x[job.partner[row]];
  const float a = job.opacity[row];
  float own[MAX_CHANNELS], part[2][MAX_CHANNELS];  // weights outside the box; of both rows inside
  for (int64_t c = 0; c < channels; c++) {
    own[c] = job.scale[c];
    part[0][c] = (1 - a) * job.scale[c];
    part[1][c] = a * job.scale[c];
  }
  T<E>* out = as<E>(job.out[row]);
  alignas(64) float block[BLOCK / 4];
  alignas(64) char ready_block[BLOCK];
  Stream streams[MAX_CHANNELS];  // each goes on where the last block ended
  for (int64_t c = 0; c < channels; c++)
    streams[c] = Stream(reinterpret_cast<char*>(out + c * pixels));
  for (int64_t at = 0; at < pixels; at += step) {
    const int64_t until = at + step < pixels ? at + step : pixels;
    for (int64_t k = at; k < until;) {
      const int64_t h = k / job.width, w = k - h * job.width;
      const bool inside = a > 0 && h >= box[0] && h < box[1] && w >= box[2] && w < box[3];
      int64_t end = (h + 1) * job.width;  // of the stretch that is mixed alike
      if (a == 0 || (!inside && h >= box[1]))
        end = pixels;
      else if (!inside && h < box[0])
        end = box[0] * job.width;
      else if (!inside && w < box[2])
        end = h * job.width + box[2];
      else if (inside && box[3] - box[2] < job.width)
        end = h * job.width + box[3];
      else if (inside)
        end = box[1] * job.width;
      if (end > until) end = until;
      const uint8_t* from = inside && a == 1 ? o : x;
      if (inside && a < 1)
        planes(block - at, step, x, o, part[0], part[1], job.bias, channels, k, end, pixels);
      else
        planes(block - at, step, from, nullptr, own, own, job.bias, channels, k, end, pixels);
      k = end;
    }
    for (int64_t c = 0; c < channels; c++) {
      char* to = reinterpret_cast<char*>(out + c * pixels + at);
      const char* ready = narrowed<E>(block + c * step, ready_block, until - at);
      const int64_t bytes = (until - at) * static_cast<int64_t>(sizeof(T<E>));
      if (job.stream)
        streams[c].put(ready, bytes);
      else
        memcpy(to, ready, static_cast<size_t>(bytes));
    }
  }
  for (int64_t c = 0; c < channels; c++) streams[c].flush();
}

template <class E>
void normalize(const Normalize& job, const Visit* visits, int64_t count) {
  for (int64_t k = 0; k < count; k++) normalize_row<E>(job, visits[k].row);
  fence();
}

}  // namespace
