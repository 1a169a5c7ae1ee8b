// The innermost loops: contiguous elements, one weight or one weight each.
#pragma once
#include "numbers.h"
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace {

// Source and destination may be the same elements, never shifted ones.
#if defined(__clang__)
#define SAME_INDEX _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define SAME_INDEX _Pragma("GCC ivdep")
#else
#define SAME_INDEX
#endif

#if defined(__GNUC__)
#define INLINED inline __attribute__((always_inline))
#else
#define INLINED inline
#endif

template <class E>
using T = typename E::T;

// Bytes that do not overlap. Pieces of an image are short and begin anywhere: there the library's
// copy, made for large blocks, takes up to twice as long.
INLINED void copy_bytes(char* to, const char* from, int64_t n) {
#ifdef __AVX2__
  constexpr int64_t wide = 32, most = 1 << 16;
  if (n >= wide && n <= most) {
    const auto move = [&](int64_t k) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + k));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), v);
    };
    move(0);
    // whole vectors of the destination, then the last one once more
    int64_t k = wide - static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % wide);
    for (; k + 2 * wide <= n; k += 2 * wide) {
      move(k);
      move(k + wide);
    }
    for (; k + wide <= n; k += wide) move(k);
    move(n - wide);
    return;
  }
#endif
  memcpy(to, from, static_cast<size_t>(n));
}

template <class E>
void copy(T<E>* to, const T<E>* from, int64_t n) {
  if (to == from || n <= 0) return;
  copy_bytes(reinterpret_cast<char*>(to), reinterpret_cast<const char*>(from),
             n * static_cast<int64_t>(sizeof(T<E>)));
}

// (1 - a) x + a o, each product and the sum rounded: what NumPy computes
template <class E>
void blend(T<E>* to, const T<E>* x, const T<E>* o, typename E::C a, int64_t n) {
  const typename E::C w = 1 - a;
  SAME_INDEX
  for (int64_t k = 0; k < n; k++) to[k] = E::put(E::get(x[k]) * w + E::get(o[k]) * a);
}

// both rows of a pair from the old values of both, neither weight 0 or 1
template <class E>
void blend_both(T<E>* i, T<E>* j, typename E::C a, typename E::C b, int64_t n) {
  const typename E::C w = 1 - a, v = 1 - b;
  SAME_INDEX
  for (int64_t k = 0; k < n; k++) {
    const typename E::C x = E::get(i[k]), y = E::get(j[k]);
    i[k] = E::put(x * w + y * a);
    j[k] = E::put(y * v + x * b);
  }
}

// the first row becomes the second, which takes from the first with weight b
template <class E>
void copy_both(T<E>* i, T<E>* j, typename E::C b, int64_t n) {
  const typename E::C v = 1 - b;
  if (b == 1) {
    SAME_INDEX
    for (int64_t k = 0; k < n; k++) {
      const T<E> x = i[k];
      i[k] = j[k];
      j[k] = x;
    }
  } else {
    SAME_INDEX
    for (int64_t k = 0; k < n; k++) {
      const T<E> x = i[k], y = j[k];
      i[k] = y;
      j[k] = E::put(E::get(y) * v + E::get(x) * b);
    }
  }
}

// An element as bits, and a mask of it: all bits or none.
template <class E>
using Bits = std::conditional_t<
    sizeof(T<E>) == 1, uint8_t,
    std::conditional_t<sizeof(T<E>) == 2, uint16_t,
                       std::conditional_t<sizeof(T<E>) == 4, uint32_t, uint64_t>>>;
template <class E>
Bits<E> bits(T<E> v) {
  Bits<E> b;
  memcpy(&b, &v, sizeof b);
  return b;
}
template <class E>
T<E> number(Bits<E> b) {
  T<E> v;
  memcpy(&v, &b, sizeof v);
  return v;
}
// `one` where the mask is set, else `other`, without a branch
template <class E>
T<E> chosen(Bits<E> mask, T<E> one, T<E> other) {
  return number<E>(static_cast<Bits<E>>(bits<E>(other) ^ ((bits<E>(one) ^ bits<E>(other)) & mask)));
}

// where `in` is set the blend, elsewhere x; the weight 1 selects bits, so that NaN stays where it
// is
template <class E>
void select(T<E>* to, const T<E>* x, const T<E>* o, typename E::C a, const Bits<E>* in, int64_t n) {
  const typename E::C w = 1 - a;
  if (a == 1) {
    SAME_INDEX
    for (int64_t k = 0; k < n; k++) to[k] = chosen<E>(in[k], o[k], x[k]);
  } else {
    SAME_INDEX
    for (int64_t k = 0; k < n; k++) {
      const T<E> mixed = E::put(E::get(x[k]) * w + E::get(o[k]) * a);
      to[k] = chosen<E>(in[k], mixed, x[k]);
    }
  }
}

// both rows of a pair, each where its `in` is set; WHOLE: the weight is 1
template <class E, bool WHOLE_I, bool WHOLE_J>
void select_both(T<E>* i, T<E>* j, typename E::C a, typename E::C b, const Bits<E>* in_i,
                 const Bits<E>* in_j, int64_t n) {
  const typename E::C w = 1 - a, v = 1 - b;
  SAME_INDEX
  for (int64_t k = 0; k < n; k++) {
    const T<E> x = i[k], y = j[k];
    const T<E> p = WHOLE_I ? y : E::put(E::get(x) * w + E::get(y) * a);
    const T<E> q = WHOLE_J ? x : E::put(E::get(y) * v + E::get(x) * b);
    i[k] = chosen<E>(in_i[k], p, x);
    j[k] = chosen<E>(in_j[k], q, y);
  }
}

// a weight for each element, 0 and 1 among them
template <class E>
void weigh(T<E>* to, const T<E>* x, const T<E>* o, float a, const float* mask, int64_t n) {
  SAME_INDEX
  for (int64_t k = 0; k < n; k++) {
    const typename E::C b = a * mask[k];
    const T<E> mixed = E::put(E::get(x[k]) * (1 - b) + E::get(o[k]) * b);
    to[k] = b == 0 ? x[k] : b == 1 ? o[k] : mixed;
  }
}

#ifdef __F16C__
// the compiler does not find these instructions by itself
inline __m256 read8(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void write8(uint16_t* p, __m256 v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
template <>
void blend<Number<F16>>(uint16_t* to, const uint16_t* x, const uint16_t* o, float a, int64_t n) {
  const float w = 1 - a;
  const __m256 wv = _mm256_set1_ps(w), av = _mm256_set1_ps(a);
  int64_t k = 0;
  for (; k + 8 <= n; k += 8) {
    const __m256 own = _mm256_mul_ps(read8(x + k), wv), others = _mm256_mul_ps(read8(o + k), av);
    write8(to + k, _mm256_add_ps(own, others));
  }
  for (; k < n; k++) to[k] = Half::put(Half::get(x[k]) * w + Half::get(o[k]) * a);
}
template <>
void blend_both<Number<F16>>(uint16_t* i, uint16_t* j, float a, float b, int64_t n) {
  const __m256 av = _mm256_set1_ps(a), wv = _mm256_set1_ps(1 - a);
  const __m256 bv = _mm256_set1_ps(b), vv = _mm256_set1_ps(1 - b);
  int64_t k = 0;
  for (; k + 8 <= n; k += 8) {
    const __m256 x = read8(i + k), y = read8(j + k);
    write8(i + k, _mm256_add_ps(_mm256_mul_ps(x, wv), _mm256_mul_ps(y, av)));
    write8(j + k, _mm256_add_ps(_mm256_mul_ps(y, vv), _mm256_mul_ps(x, bv)));
  }
  for (; k < n; k++) {
    const float x = Half::get(i[k]), y = Half::get(j[k]);
    i[k] = Half::put(x * (1 - a) + y * a);
    j[k] = Half::put(y * (1 - b) + x * b);
  }
}
#endif

}  // namespace
