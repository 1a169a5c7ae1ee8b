// Element types: how they are read as a number to compute with, and written back, rounded once.
// Compiled once per instruction set: everything here has internal linkage.
#pragma once
#include <cmath>
#include <cstring>
#include <type_traits>

#include "job.h"

namespace {

inline float float_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

inline uint32_t bits_of(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return bits;
}

template <class S, class N>
struct Float {
  using T = S;
  using C = N;
  static C get(T v) { return v; }
  static T put(C v) { return v; }
};

template <class S>
struct Integer {
  using T = S;
  using C = float;
  static C get(T v) { return static_cast<float>(static_cast<int32_t>(v)); }
  // a blend of two values cannot leave their range; rintf rounds half to even
  static T put(C v) { return static_cast<T>(static_cast<int32_t>(rintf(v))); }
};

struct Brain {
  using T = uint16_t;
  using C = float;
  static C get(T v) { return float_of(static_cast<uint32_t>(v) << 16); }
  static T put(C v) {
    const uint32_t bits = bits_of(v);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return static_cast<T>(v != v ? 0x7fc0u : rounded);  // NaN must not be rounded into a number
  }
};

struct Half {
  using T = uint16_t;
  using C = float;
  // without branches: normal numbers by their bits, subnormal ones by a float subtraction
  static C get(T v) {
    const uint32_t sign = static_cast<uint32_t>(v & 0x8000) << 16, rest = v & 0x7fff;
    const float normal = float_of((rest << 13) + ((127u - 15u) << 23));
    const float special = float_of((rest << 13) | 0x7f800000u);  // inf and NaN
    const float subnormal = static_cast<float>(static_cast<int32_t>(rest)) * 0x1p-24f;
    const float value = rest >= 0x7c00 ? special : rest < 0x0400 ? subnormal : normal;
    return float_of(bits_of(value) | sign);
  }
  static T put(C v) {
    const uint32_t bits = bits_of(v), sign = (bits >> 16) & 0x8000, rest = bits & 0x7fffffff;
    uint32_t half;
    if (rest > 0x7f800000u) {
      half = 0x7e00;  // NaN
    } else if (rest >= 0x477ff000u) {
      half = 0x7c00;                  // 65520 and more round to infinity
    } else if (rest < 0x38800000u) {  // below the smallest normal: in steps of 2^-24
      half = static_cast<uint32_t>(static_cast<int32_t>(rintf(float_of(rest) * 0x1p24f)));
    } else {
      half = (rest + 0xfff + ((rest >> 13) & 1) - ((127u - 15u) << 23)) >> 13;
    }
    return static_cast<T>(half | sign);
  }
};

template <int type>
struct Number;
template <>
struct Number<F64> : Float<double, double> {};
template <>
struct Number<F32> : Float<float, float> {};
template <>
struct Number<F16> : Half {};
template <>
struct Number<BF16> : Brain {};
template <>
struct Number<U8> : Integer<uint8_t> {};
template <>
struct Number<I8> : Integer<int8_t> {};
template <>
struct Number<U16> : Integer<uint16_t> {};
template <>
struct Number<I16> : Integer<int16_t> {};

}  // namespace
