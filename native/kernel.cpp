// Order of rows, threads, and the choice of an instruction set.
#include "kernel.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace {

constexpr size_t ALIGNED = 64;

// Rows in the order of their circles, so that a partner is read while it is in the cache. In place,
// a row is written once all that read it are: chains from their open ends, then circles, each with a
// copy of the row that it starts with; circles of two as pairs.
std::vector<Visit> visits(const int32_t* partner, int64_t rows, bool in_place, bool pairs) {
  std::vector<Visit> order;
  order.reserve(static_cast<size_t>(rows));
  std::vector<int32_t> readers(static_cast<size_t>(rows), 0);
  std::vector<char> done(static_cast<size_t>(rows), 0);
  for (int64_t i = 0; i < rows; i++) readers[partner[i]]++;
  for (int32_t end = 0; end < rows; end++) {
    for (int32_t i = end; readers[i] == 0 && !done[i]; i = partner[i]) {
      order.push_back({i, partner[i], PLAIN});
      done[i] = 1;
      readers[partner[i]]--;
    }
  }
  for (int32_t start = 0; start < rows; start++) {
    if (done[start]) continue;
    if (in_place && pairs && partner[start] != start && partner[partner[start]] == start) {
      order.push_back({start, partner[start], PAIR});
      done[start] = done[partner[start]] = 1;
      continue;
    }
    const size_t first = order.size();
    for (int32_t i = start; !done[i]; i = partner[i]) {
      order.push_back({i, partner[i], PLAIN});
      done[i] = 1;
    }
    if (in_place && order.size() - first > 1) {
      order[first].step = KEEP;
      order.back().partner = KEPT;
    }
  }
  return order;
}

// Memory of one thread, allocated before it starts.
struct Memory {
  std::vector<Run> runs[2];
  std::vector<char> blocks, row;
  Scratch scratch;

  Memory(size_t lines, size_t bytes) : blocks(2 * BLOCK + ALIGNED), row(bytes + ALIGNED) {
    for (int k = 0; k < 2; k++) {
      runs[k].resize(lines);
      scratch.runs[k] = runs[k].data();
      scratch.block[k] = aligned(blocks.data()) + k * BLOCK;
    }
    scratch.row = bytes ? aligned(row.data()) : nullptr;
  }
  static char* aligned(char* p) {
    return p + (ALIGNED - reinterpret_cast<uintptr_t>(p) % ALIGNED) % ALIGNED;
  }
};

// Call work(0) .. work(count - 1), each in a thread, the last one in this one. Threads live for one
// call: none is there to be lost in a fork, none spins beside the framework's own.
template <class Work>
void in_threads(int count, Work work) {
  std::vector<std::thread> others;
  int started = 0;
  try {
    for (; started < count - 1; started++) others.emplace_back(work, started);
  } catch (...) {  // no more threads to be had: their parts are done here
  }
  for (int k = started; k < count; k++) work(k);
  for (auto& thread : others) thread.join();
}

const Kernels* chosen = nullptr;

}  // namespace

void run(const Job& job, const int32_t* partner, int64_t rows, bool own_partners, int threads) {
  const bool shaped = job.mask || job.source;
  const std::vector<Visit> order = visits(partner, rows, job.in_place && own_partners, !shaped);
  const bool keeps = std::any_of(order.begin(), order.end(), [](Visit v) { return v.step == KEEP; });
  int64_t lines = 1, unit = 64 / job.item;
  for (int m = 0; m < job.rank; m++) {
    const int64_t line = job.n[m] * job.stride[m];
    if (m + 1 < job.rank || job.rank == 1) lines *= std::max<int64_t>(job.n[m], 1);
    if (job.axis[m] >= 0 && line <= LINE) unit = std::max(unit, line);
  }
  for (int m = 0; m < job.rank; m++)  // short lines are not divided
    if (job.axis[m] >= 0 && job.n[m] * job.stride[m] <= LINE)
      unit = unit / (job.n[m] * job.stride[m]) * (job.n[m] * job.stride[m]);
  const int64_t parts = (job.cells + unit - 1) / unit;
  const int count = shaped ? 1 : static_cast<int>(std::min<int64_t>(std::max(threads, 1), parts));
  std::vector<Memory> memory;
  memory.reserve(static_cast<size_t>(count));
  for (int k = 0; k < count; k++)
    memory.emplace_back(static_cast<size_t>(lines + 1),
                        keeps ? static_cast<size_t>(job.cells * job.item) : 0);
  in_threads(count, [&](int k) {
    const int64_t begin = parts * k / count * unit;
    const int64_t end = std::min(job.cells, parts * (k + 1) / count * unit);
    kernels().mix(job, order.data(), static_cast<int64_t>(order.size()), memory[k].scratch, begin,
                  end);
  });
}

void run(const Widen& job, int64_t rows, int threads) {
  const std::vector<Visit> order = visits(job.partner, rows, false, false);
  const int count = static_cast<int>(std::min<int64_t>(std::max(threads, 1), std::max<int64_t>(rows, 1)));
  std::vector<Memory> memory;
  memory.reserve(static_cast<size_t>(count));
  for (int k = 0; k < count; k++) memory.emplace_back(1, 0);
  in_threads(count, [&](int k) {
    const int64_t begin = rows * k / count, end = rows * (k + 1) / count;
    kernels().widen(job, order.data() + begin, end - begin, memory[k].scratch);
  });
}

const Kernels& kernels() {
  if (!chosen) choose("");
  return *chosen;
}

bool choose(const char* name) {
  const Kernels* found[3] = {&kernels_baseline, nullptr, nullptr};
#ifdef BATCHMIX_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) found[1] = &kernels_avx2;
  if (found[1] && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    found[2] = &kernels_avx512;
#endif
  for (int k = 2; k >= 0; k--) {
    if (found[k] && (!*name || !strcmp(name, found[k]->name))) {
      chosen = found[k];
      return true;
    }
  }
  return false;
}
