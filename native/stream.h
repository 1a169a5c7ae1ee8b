// Memory past the cache, and ahead of its use.
#pragma once
#include "loops.h"

namespace {

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
  static V load(const char* from) {
    V v;
    memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(char* to, V v) { memcpy(to, &v, sizeof v); }
#endif
  static constexpr int64_t width = sizeof(V);

  // everything before `to` within its vector stays as it is
  Stream() : Stream(nullptr) {}
  explicit Stream(char* to)
      : filled_(static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % width)),
        to_(to - filled_),
        first_(filled_) {}

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
