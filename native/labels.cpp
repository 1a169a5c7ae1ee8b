// Soft labels from ids, in one pass.
#include "labels.h"

#include <algorithm>
#include <cstring>

namespace {

template <class N>
int64_t value(const char* at) {
  N v;
  memcpy(&v, at, sizeof v);
  return static_cast<int64_t>(v);  // an unsigned id that does not fit is negative here
}

int64_t id(const Ids& ids, int64_t row) {
  const char* at = ids.at + row * ids.stride;
  switch (ids.is_signed ? -ids.item : ids.item) {
    case -1:
      return value<int8_t>(at);
    case -2:
      return value<int16_t>(at);
    case -4:
      return value<int32_t>(at);
    case 1:
      return value<uint8_t>(at);
    case 2:
      return value<uint16_t>(at);
    case 4:
      return value<uint32_t>(at);
    default:
      return value<int64_t>(at);
  }
}

}  // namespace

bool mix_labels(const Labels& job, float* target) {
  for (int64_t i = 0; i < job.y.count; i++, target += job.classes) {
    const int64_t own = id(job.y, i), theirs = id(job.other, job.partner[i]);
    if (own < 0 || own >= job.classes || theirs < 0 || theirs >= job.classes) return false;
    std::fill(target, target + job.classes, job.off);
    target[own] += job.lam[i] * job.on;
    target[theirs] += (1 - job.lam[i]) * job.on;
  }
  return true;
}
