// Displacement from a stationary start under heavy ball in continuous time, summed over modes: the
// reference of displacement.py.
//
// P = 1 - C(t)/C(0) is the relative spread of a mode of damping gamma and frequency omega, and
// s = gamma S with S = e^{-gamma t} sin(delta t)/delta its impulse response. Two spans of one
// length in a row give, with r = omega^2/gamma^2,
//
//     P(2t) = P (2 - P) + r s^2,     s(2t) = 2 s (1 - P - s),
//
// which has no branch, no transcendental function and no exception at critical damping. Short times
// are a power series. A group of modes lives in registers while it goes through all times; VECTORS
// chains of dependent operations side by side hide one another's latency.

#include <cstddef>
#include <vector>

namespace {

constexpr std::size_t LANES = 8;
constexpr std::size_t VECTORS = 4;
constexpr std::size_t GROUP = LANES * VECTORS;
constexpr int TERMS = 10;

typedef double vector __attribute__((vector_size(LANES * sizeof(double))));

struct Modes {
  vector weight[VECTORS], stiffness[VECTORS];  // r = omega^2/gamma^2
};

// What is left of the last group stands as flat modes of weight 0.
Modes load(std::size_t count, const double *curvature, const double *weight, double unit) {
  Modes modes;
  for (std::size_t v = 0; v < VECTORS; ++v)
    for (std::size_t lane = 0; lane < LANES; ++lane) {
      const std::size_t i = LANES * v + lane;
      modes.weight[v][lane] = i < count ? weight[i] : 0.0;
      modes.stiffness[v][lane] = i < count ? unit * curvature[i] : 0.0;
    }
  return modes;
}

// P = w sum h_k/(k+2)! and s = x sum h_k/(k+1)!, h_k = -2x h_{k-1} - w h_{k-2}, for x = gamma t and
// w = r x^2 well below 1.
inline void start(double x, vector stiffness, vector &spread, vector &impulse) {
  const vector w = stiffness * (x * x);
  vector before = w * 0 + 1, now = w * 0 - 2 * x;
  vector first = 1 + now / 2, second = 0.5 + now / 6;
  double factorial = 6;  // (k + 1)!
  for (int k = 2; k < TERMS; ++k) {
    const vector next = -2 * x * now - w * before;
    before = now;
    now = next;
    first += now * (1 / factorial);
    factorial *= k + 2;
    second += now * (1 / factorial);
  }
  spread = w * second;
  impulse = x * first;
}

inline void twice(vector stiffness, vector &spread, vector &impulse) {
  const vector p = spread, s = impulse;
  spread = p * (2 - p) + stiffness * (s * s);
  impulse = (s + s) * ((1 - p) - s);
}

}  // namespace

// totals[m * octaves + j] = sum of weight P at time first[m] 2^(skipped + j), in updates.
// curvature and weight have `modes` entries; first has `starts`.
extern "C" void displacement(std::size_t modes, const double *curvature, const double *weight,
                             double rate, double momentum, std::size_t starts,
                             const double *first, std::size_t skipped, std::size_t octaves,
                             double *totals) {
  const double damping = (1 - momentum) / (1 + momentum);
  const double unit = 2 * rate / ((1 + momentum) * damping * damping);
  std::vector<double> store((starts * octaves + 1) * LANES, 0.0);
  const std::size_t aligned = reinterpret_cast<std::size_t>(store.data()) + sizeof(vector) - 1;
  vector *sums = reinterpret_cast<vector *>(aligned / sizeof(vector) * sizeof(vector));
  for (std::size_t base = 0; base < modes; base += GROUP) {
    const Modes group = load(modes - base, curvature + base, weight + base, unit);
    for (std::size_t m = 0; m < starts; ++m) {
      vector spread[VECTORS], impulse[VECTORS];
      for (std::size_t v = 0; v < VECTORS; ++v)
        start(damping * first[m], group.stiffness[v], spread[v], impulse[v]);
      for (std::size_t j = 0; j < skipped; ++j)
        for (std::size_t v = 0; v < VECTORS; ++v)
          twice(group.stiffness[v], spread[v], impulse[v]);
      vector *row = sums + m * octaves;
      for (std::size_t j = 0; j < octaves; ++j) {
        vector sum = row[j];
        for (std::size_t v = 0; v < VECTORS; ++v) {
          sum += group.weight[v] * spread[v];
          twice(group.stiffness[v], spread[v], impulse[v]);
        }
        row[j] = sum;
      }
    }
  }
  for (std::size_t t = 0; t < starts * octaves; ++t) {
    totals[t] = 0;
    for (std::size_t lane = 0; lane < LANES; ++lane) totals[t] += sums[t][lane];
  }
}
