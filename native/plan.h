// What follows from the columns of a plan: opacity as executed, and lam.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

constexpr int MAX_LAYERS = 16;
constexpr int MAX_EDGES = 2 * MAX_LAYERS + 2;

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

// One row of a plan of several pastes: where each lies, and how strongly.
struct Pasted {
  const int32_t* box[MAX_LAYERS];  // [axes, 2]
  double opacity[MAX_LAYERS];
  int layers, axes;
};

// Edges of all boxes on an axis, in order, each once; how many.
inline int edges_of(const Pasted& row, int axis, int64_t n, int64_t* edges) {
  int count = 0;
  edges[count++] = 0;
  edges[count++] = n;
  for (int k = 0; k < row.layers; k++)
    if (row.opacity[k] > 0) {
      edges[count++] = row.box[k][2 * axis];
      edges[count++] = row.box[k][2 * axis + 1];
    }
  std::sort(edges, edges + count);
  return static_cast<int>(std::unique(edges, edges + count) - edges);
}

// Adds to out[0 .. layers] the cells where the row and each layer show, by the painter's rule.
// Between two edges all cells are alike. `under`: which layers lie there, on the axes before.
inline void add_seen(const Pasted& row, const int64_t* size, int axis, uint32_t under, double cells,
                     double* out) {
  if (axis == row.axes) {
    for (int k = row.layers - 1; k >= 0; k--) {
      if (!(under >> k & 1)) continue;
      const double covered = cells * row.opacity[k];
      out[k + 1] += covered;
      cells -= covered;
    }
    out[0] += cells;
    return;
  }
  int64_t edges[MAX_EDGES];
  const int count = edges_of(row, axis, size[axis], edges);
  for (int e = 0; e + 1 < count; e++) {
    uint32_t here = under;
    for (int k = 0; k < row.layers; k++) {
      const int32_t* ends = row.box[k] + 2 * axis;
      if (edges[e] < ends[0] || edges[e] >= ends[1]) here &= ~(1u << k);
    }
    add_seen(row, size, axis + 1, here, cells * static_cast<double>(edges[e + 1] - edges[e]), out);
  }
}

// [rows, layers + 1]: shares of the grid where a row and each layer show. box [layers, rows, axes,
// 2] and opacity [layers, rows] were checked.
inline void seen(const int32_t* box, const float* opacity, int layers, int64_t rows, int axes,
                 const int64_t* size, double* out) {
  double cells = 1;
  for (int k = 0; k < axes; k++) cells *= static_cast<double>(size[k]);
  for (int64_t i = 0; i < rows; i++, out += layers + 1) {
    Pasted row{};
    row.layers = layers;
    row.axes = axes;
    uint32_t all = 0;
    for (int k = 0; k < layers; k++) {
      row.box[k] = box + (k * rows + i) * 2 * axes;
      row.opacity[k] = opacity[k * rows + i];
      if (row.opacity[k] > 0) all |= 1u << k;
    }
    std::fill(out, out + layers + 1, 0.0);
    add_seen(row, size, 0, all, 1, out);
    for (int k = 0; k <= layers; k++) out[k] /= cells;
  }
}
