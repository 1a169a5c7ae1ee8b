// uint8 rows [H, W, C], mixed and normalised in one pass: v -> v * scale[c] + bias[c], [C, H, W].
#pragma once
#include "rows.h"

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

#ifdef __AVX2__
struct Triple {
  __m128i c[3];
};

// 16 pixels of 3 bytes -> 3 times 16 bytes
inline Triple split(const uint8_t* p) {
  const __m128i* at = reinterpret_cast<const __m128i*>(p);
  const __m128i s[3] = {_mm_loadu_si128(at), _mm_loadu_si128(at + 1), _mm_loadu_si128(at + 2)};
  alignas(16) static const int8_t from[3][3][16] = {
      {{0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
       {-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1},
       {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13}},
      {{1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
       {-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1},
       {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14}},
      {{2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
       {-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1},
       {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15}}};
  Triple t;
  for (int c = 0; c < 3; c++) {
    __m128i found[3];
    for (int k = 0; k < 3; k++)
      found[k] = _mm_shuffle_epi8(s[k], _mm_load_si128(reinterpret_cast<const __m128i*>(from[c][k])));
    t.c[c] = _mm_or_si128(_mm_or_si128(found[0], found[1]), found[2]);
  }
  return t;
}

inline __m256 floats(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }

#endif

inline void planes(float* to, int64_t plane, const uint8_t* x, const uint8_t* o, const float* w,
                   const float* v, const float* bias, int64_t channels, int64_t begin,
                   int64_t end) {
  int64_t k = begin;
#ifdef __AVX2__
  // the compiler does not see that three strided reads are one
  for (; channels == 3 && k + 16 <= end; k += 16) {
    const Triple own = split(x + 3 * k), theirs = o ? split(o + 3 * k) : own;
    for (int c = 0; c < 3; c++) {
      const __m256 ws = _mm256_set1_ps(w[c]), vs = _mm256_set1_ps(v[c]), bs = _mm256_set1_ps(bias[c]);
      const __m128i xs[2] = {own.c[c], _mm_srli_si128(own.c[c], 8)};
      const __m128i os[2] = {theirs.c[c], _mm_srli_si128(theirs.c[c], 8)};
      for (int half = 0; half < 2; half++) {
        __m256 sum = bs;
        if (o) sum = _mm256_add_ps(_mm256_mul_ps(floats(os[half]), vs), bs);
        sum = _mm256_add_ps(_mm256_mul_ps(floats(xs[half]), ws), sum);
        _mm256_storeu_ps(to + c * plane + k + 8 * half, sum);
      }
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
void widen_row(const Widen& job, const Scratch& scratch, int32_t row) {
  const int32_t* box = job.box + row * 4;
  const int64_t pixels = job.height * job.width, channels = job.channels;
  const int64_t step = BLOCK / 4 / channels / 16 * 16;  // at most 16 channels
  const uint8_t *x = job.x[row], *o = job.x[job.partner[row]];
  const float a = job.blend[row];
  float own[16], part[2][16];  // weights outside the box; of both rows inside
  for (int64_t c = 0; c < channels; c++) {
    own[c] = job.scale[c];
    part[0][c] = (1 - a) * job.scale[c];
    part[1][c] = a * job.scale[c];
  }
  T<E>* out = as<E>(job.out[row]);
  float* block = reinterpret_cast<float*>(scratch.block[0]);
  for (int64_t at = 0; at < pixels; at += step) {
    const int64_t until = at + step < pixels ? at + step : pixels;
    for (int64_t k = at; k < until;) {
      const int64_t h = k / job.width, w = k - h * job.width;
      const bool inside = a > 0 && h >= box[0] && h < box[1] && w >= box[2] && w < box[3];
      int64_t end = (h + 1) * job.width;  // of the stretch that is mixed alike
      if (a == 0 || (!inside && h >= box[1])) end = pixels;
      else if (!inside && h < box[0]) end = box[0] * job.width;
      else if (!inside && w < box[2]) end = h * job.width + box[2];
      else if (inside && box[3] - box[2] < job.width) end = h * job.width + box[3];
      else if (inside) end = box[1] * job.width;
      if (end > until) end = until;
      const uint8_t* from = inside && a == 1 ? o : x;
      if (inside && a < 1)
        planes(block - at, step, x, o, part[0], part[1], job.bias, channels, k, end);
      else
        planes(block - at, step, from, nullptr, own, own, job.bias, channels, k, end);
      k = end;
    }
    for (int64_t c = 0; c < channels; c++) {
      char* to = reinterpret_cast<char*>(out + c * pixels + at);
      const char* ready = narrowed<E>(block + c * step, scratch.block[1], until - at);
      const int64_t bytes = (until - at) * static_cast<int64_t>(sizeof(T<E>));
      if (job.stream) stream(to, ready, bytes); else memcpy(to, ready, static_cast<size_t>(bytes));
    }
  }
}

template <class E>
void widen(const Widen& job, const Visit* visits, int64_t count, const Scratch& scratch) {
  for (int64_t k = 0; k < count; k++) widen_row<E>(job, scratch, visits[k].row);
  fence();
}

}  // namespace
