// Soft labels from ids, as the module calls it.
#pragma once
#include <cstdint>

// Ids as NumPy holds them: `item` bytes each, signed or not, `stride` bytes apart.
struct Ids {
  const char* at;
  int64_t count, stride, item;
  bool is_signed;
};

struct Labels {
  Ids y, other;
  const int32_t* partner;  // [y.count], rows of `other`
  const float* lam;        // [y.count]
  int64_t classes;
  float off, on;
};

// target[i] = off, + lam[i] on at y[i], + (1 - lam[i]) on at other[partner[i]], in this order;
// false, with nothing of use written, where an id is not one of the classes.
bool mix_labels(const Labels& job, float* target);
