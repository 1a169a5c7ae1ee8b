// What follows from the columns of a plan: opacity as executed, and lam.
#pragma once
#include <cmath>
#include <cstdint>

// Opacities are put on the lattice of multiples of 1 / `lattice`; where there is nothing to paste
// they are 0. The same operations in the same order as `executed` in _columns.py. False where a
// partner, box or opacity is out of range: then `opacity` and `lam` hold nothing.
inline bool execute(const int32_t* partner, const int32_t* box, const double* given, int64_t rows,
                    int axes, const int64_t* size, double lattice, float* opacity, float* lam) {
  double cells = 1;
  for (int k = 0; k < axes; k++) cells *= static_cast<double>(size[k]);
  for (int64_t i = 0; i < rows; i++, box += 2 * axes) {
    double area = 1;
    for (int k = 0; k < axes; k++) {
      const int32_t low = box[2 * k], high = box[2 * k + 1];
      if (low < 0 || high < low || high > size[k]) return false;
      area *= static_cast<double>(high - low);
    }
    const double share = std::nearbyint(given[i] * lattice) / lattice;
    if (partner[i] < 0 || partner[i] >= rows || !(share >= 0 && share <= 1)) return false;
    opacity[i] = area == 0 || partner[i] == i ? 0.0f : static_cast<float>(share);
    lam[i] = static_cast<float>(1 - static_cast<double>(opacity[i]) * (area / cells));
  }
  return true;
}
