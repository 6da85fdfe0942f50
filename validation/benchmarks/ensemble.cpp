// SGD on linear regression, replica after replica: the reference that the ensembles are timed against.
//
//     g++ -O3 -march=native -shared -fPIC -o ensemble.so ensemble.cpp
//
// Heavy ball, batches with replacement, weight decay. Four examples share every load of θ and of the
// gradient. Indices come from a wyrand generator, one 64-bit multiplication for two of them.

#include <cstdint>
#include <vector>

namespace {

struct Generator {
    uint64_t state;
    uint64_t next() {
        state += 0xa0761d6478bd642full;
        const __uint128_t product = static_cast<__uint128_t>(state) * (state ^ 0xe7037ed1a0b428dbull);
        return static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
    }
};

template <typename T>
void draw(Generator& generator, const T* inputs, int64_t examples, int64_t d, int64_t batch,
          const T** rows, T* residuals, const T* targets) {
    for (int64_t i = 0; i < batch; i += 2) {
        const uint64_t word = generator.next();
        const uint64_t halves[2] = {word & 0xffffffffu, word >> 32};
        for (int64_t half = 0; half < 2 && i + half < batch; ++half) {
            const uint64_t n = (halves[half] * static_cast<uint64_t>(examples)) >> 32;
            rows[i + half] = inputs + n * d;
            residuals[i + half] = -targets[n];
        }
    }
}

template <typename T>
void gradient_of(const T* const* rows, T* residuals, const T* theta, T* gradient, int64_t d,
                 int64_t batch, T decay) {
    const int64_t whole = batch - batch % 4;
    const T share = T(1) / static_cast<T>(batch);
    for (int64_t i = 0; i < whole; i += 4) {
        const T *x0 = rows[i], *x1 = rows[i + 1], *x2 = rows[i + 2], *x3 = rows[i + 3];
        T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int64_t j = 0; j < d; ++j) {
            s0 += x0[j] * theta[j];
            s1 += x1[j] * theta[j];
            s2 += x2[j] * theta[j];
            s3 += x3[j] * theta[j];
        }
        residuals[i] = share * (residuals[i] + s0);
        residuals[i + 1] = share * (residuals[i + 1] + s1);
        residuals[i + 2] = share * (residuals[i + 2] + s2);
        residuals[i + 3] = share * (residuals[i + 3] + s3);
    }
    for (int64_t i = whole; i < batch; ++i) {
        T total = 0;
        for (int64_t j = 0; j < d; ++j) total += rows[i][j] * theta[j];
        residuals[i] = share * (residuals[i] + total);
    }
    for (int64_t j = 0; j < d; ++j) gradient[j] = decay * theta[j];
    for (int64_t i = 0; i < whole; i += 4) {
        const T *__restrict x0 = rows[i], *__restrict x1 = rows[i + 1];
        const T *__restrict x2 = rows[i + 2], *__restrict x3 = rows[i + 3];
        const T r0 = residuals[i], r1 = residuals[i + 1], r2 = residuals[i + 2], r3 = residuals[i + 3];
        T* __restrict g = gradient;
        for (int64_t j = 0; j < d; ++j) g[j] += r0 * x0[j] + r1 * x1[j] + r2 * x2[j] + r3 * x3[j];
    }
    for (int64_t i = whole; i < batch; ++i) {
        for (int64_t j = 0; j < d; ++j) gradient[j] += residuals[i] * rows[i][j];
    }
}

template <typename T>
void run(const T* inputs, const T* targets, int64_t examples, int64_t d, int64_t batch,
         int64_t replicas, int64_t updates, T rate, T momentum, T decay, uint64_t seed, T* theta) {
    std::vector<const T*> rows(batch);
    std::vector<T> residuals(batch), gradient(d), velocity(d);
    for (int64_t r = 0; r < replicas; ++r) {
        Generator generator{seed * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(r) * 0xd1342543de82ef95ull};
        T* __restrict x = theta + r * d;
        T* __restrict v = velocity.data();
        const T* __restrict g = gradient.data();
        for (int64_t j = 0; j < d; ++j) v[j] = 0;
        for (int64_t k = 0; k < updates; ++k) {
            draw(generator, inputs, examples, d, batch, rows.data(), residuals.data(), targets);
            gradient_of(rows.data(), residuals.data(), x, gradient.data(), d, batch, decay);
            for (int64_t j = 0; j < d; ++j) {
                v[j] = momentum * v[j] - g[j];
                x[j] += rate * v[j];
            }
        }
    }
}

}  // namespace

extern "C" void run_double(const double* inputs, const double* targets, int64_t examples, int64_t d,
                           int64_t batch, int64_t replicas, int64_t updates, double rate,
                           double momentum, double decay, uint64_t seed, double* theta) {
    run(inputs, targets, examples, d, batch, replicas, updates, rate, momentum, decay, seed, theta);
}

extern "C" void run_float(const float* inputs, const float* targets, int64_t examples, int64_t d,
                          int64_t batch, int64_t replicas, int64_t updates, float rate,
                          float momentum, float decay, uint64_t seed, float* theta) {
    run(inputs, targets, examples, d, batch, replicas, updates, rate, momentum, decay, seed, theta);
}
