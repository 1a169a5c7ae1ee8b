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

template <class E>
void copy(T<E>* to, const T<E>* from, int64_t n) {
  if (to != from && n > 0) memcpy(to, from, static_cast<size_t>(n) * sizeof(T<E>));
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
  return number<E>((bits<E>(one) & mask) | (bits<E>(other) & static_cast<Bits<E>>(~mask)));
}

// where `in` is set the blend, elsewhere x; the weight 1 selects bits, so that NaN stays where it is
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

// Write past the cache: what is not read again soon need not be read before it is written. Pieces
// are put one after the other; whole vectors go from source to memory without a stop in between.
class Stream {
 public:
#if defined(__AVX512BW__)
  using V = __m512i;
  static V load(const char* from) { return _mm512_loadu_si512(from); }
  static void store(char* to, V v) { _mm512_stream_si512(reinterpret_cast<V*>(to), v); }
#elif defined(__AVX2__)
  using V = __m256i;
  static V load(const char* from) { return _mm256_loadu_si256(reinterpret_cast<const V*>(from)); }
  static void store(char* to, V v) { _mm256_stream_si256(reinterpret_cast<V*>(to), v); }
#elif defined(__SSE2__)
  using V = __m128i;
  static V load(const char* from) { return _mm_loadu_si128(reinterpret_cast<const V*>(from)); }
  static void store(char* to, V v) { _mm_stream_si128(reinterpret_cast<V*>(to), v); }
#else
  using V = uint64_t;
  static V load(const char* from) { V v; memcpy(&v, from, sizeof v); return v; }
  static void store(char* to, V v) { memcpy(to, &v, sizeof v); }
#endif
  static constexpr int64_t width = sizeof(V);

  // everything before `to` within its vector stays as it is
  Stream() : Stream(nullptr) {}
  explicit Stream(char* to)
      : filled_(static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % width)), to_(to - filled_), first_(filled_) {}

  void put(const char* from, int64_t bytes) {
    if (filled_ > 0) {
      const int64_t n = bytes < width - filled_ ? bytes : width - filled_;
      part(from, n);
      if (filled_ < width) return;
      flush();
      from += n;
      bytes -= n;
    }
    int64_t k = 0;
    for (; k + width <= bytes; k += width) store(to_ + k, load(from + k));
    to_ += k;
    if (k < bytes) part(from + k, bytes - k);
  }

  // what is left of the last vector
  void flush() {
    if (first_ == 0 && filled_ == width) {
#if defined(__AVX512BW__)
      store(to_, pending_);
#else
      store(to_, load(pending_));
#endif
    } else if (filled_ > first_) {
#if defined(__AVX512BW__)
      _mm512_mask_storeu_epi8(to_, bits(first_, filled_ - first_), pending_);
#else
      memcpy(to_ + first_, pending_ + first_, static_cast<size_t>(filled_ - first_));
#endif
    }
    to_ += width;
    first_ = filled_ = 0;
  }

 private:
#if defined(__AVX512BW__)
  static __mmask64 bits(int64_t begin, int64_t n) { return (~0ull >> (64 - n)) << begin; }
  void part(const char* from, int64_t n) {  // loads nothing outside of the piece
    if (n > 0) pending_ = _mm512_mask_loadu_epi8(pending_, bits(filled_, n), from - filled_);
    filled_ += n;
  }
  V pending_ = _mm512_setzero_si512();
#else
  void part(const char* from, int64_t n) {
    memcpy(pending_ + filled_, from, static_cast<size_t>(n));
    filled_ += n;
  }
  char pending_[width];
#endif
  int64_t filled_;
  char* to_;
  int64_t first_;  // bytes of the vector that are not ours
};

inline void stream(char* to, const char* from, int64_t bytes) {
  Stream out(to);
  out.put(from, bytes);
  out.flush();
}

// A blend that is written past the cache without being assembled first; false where there is none.
template <class E>
bool stream_blend(T<E>*, const T<E>*, const T<E>*, typename E::C, int64_t) {
  return false;
}
#ifdef __AVX2__
template <>
bool stream_blend<Number<F32>>(float* to, const float* x, const float* o, float a, int64_t n) {
  const float w = 1 - a;
  int64_t k = 0;
  for (; k < n && reinterpret_cast<uintptr_t>(to + k) % 64; k++) to[k] = x[k] * w + o[k] * a;
#ifdef __AVX512F__
  const __m512 wv = _mm512_set1_ps(w), av = _mm512_set1_ps(a);
  for (; k + 16 <= n; k += 16) {
    const __m512 own = _mm512_mul_ps(_mm512_loadu_ps(x + k), wv);
    const __m512 others = _mm512_mul_ps(_mm512_loadu_ps(o + k), av);
    _mm512_stream_ps(to + k, _mm512_add_ps(own, others));
  }
#else
  const __m256 wv = _mm256_set1_ps(w), av = _mm256_set1_ps(a);
  for (; k + 8 <= n; k += 8) {
    const __m256 own = _mm256_mul_ps(_mm256_loadu_ps(x + k), wv);
    const __m256 others = _mm256_mul_ps(_mm256_loadu_ps(o + k), av);
    _mm256_stream_ps(to + k, _mm256_add_ps(own, others));
  }
#endif
  for (; k < n; k++) to[k] = x[k] * w + o[k] * a;
  return true;
}
#endif

// At most 1 kB: a longer run is followed by the machine itself.
INLINED void prefetch(const void* p, int64_t bytes) {
#if defined(__GNUC__)
  const char* at = static_cast<const char*>(p);
  for (int64_t k = 0; k < bytes && k < 1024; k += 64) __builtin_prefetch(at + k);
#endif
}

inline void fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace
