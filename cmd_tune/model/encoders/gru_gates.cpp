// The gates of one frame of many independent GRUs, forward and backward, fused: each value is read and written once.
//
// Storage is float32 or bfloat16; arithmetic, the state carried on, its gradient and the bias gradients are float32.
// native.py compiles this file, gru_gates.py calls it.
// M modality, T frame, B sample, H hidden, G group: modality g / 2, direction g % 2.

#include <cstdint>
#include <cstring>

#include "compute/fetch.h"
#include "model/encoders/gru_cell.h"

struct Forward {
    int64_t frames, batch, width, first_group, last_group;  // groups first … last − 1 are this call's
    void *gates;         // (M, T, B, 2, 3H) input products; where recurrent_n is kept, the frame's r, z, n afterwards
    void *recurrent;     // (G, B, 3H) the frame before's h, times weight_hh
    const float *bias;   // (G, 4H) of r and z (input's and recurrent's together), of n's input, of n's recurrent part
    float *carried;      // (G, B, H) h
    void *state;         // (G, B, H) h as the next product's operand
    void *hidden;        // (M, T, B, 2, H) h of every frame, or null
    void *recurrent_n;   // (M, T, B, 2, H) n's recurrent part, or null
};

struct Backward {
    int64_t frames, batch, width, first_group, last_group, last_only;
    void *gates;              // (M, T, B, 2, 3H) r, z, n; afterwards the gradient of the input products
    void *recurrent_n;        // (M, T, B, 2, H) n's recurrent part; afterwards its gradient
    const void *hidden;       // (M, T, B, 2, H)
    const void *grad_hidden;  // (M, T, B, 2, H), or (M, B, 2, H) of the last frame where last_only
    const void *grad_state;   // (G, B, H) grad_recurrent of the frame after, times weight_hh
    float *carried;           // (G, B, H) the rest of what the frame after says of h
    void *grad_recurrent;     // (G, B, 3H) of this frame's recurrent products
    float *grad_bias;         // (G, 4H) summed over frames and samples
};

using bfloat16 = uint16_t;  // its bits

static inline float get(float x) { return x; }
static inline float get(bfloat16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x) << 16); }
static inline void put(float &to, float x) { to = x; }
static inline void put(bfloat16 &to, float x) {  // to nearest even; a NaN stays one
    uint32_t bits = __builtin_bit_cast(uint32_t, x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    to = static_cast<bfloat16>(x != x ? 0x7fc0u : rounded);
}

template <class Real, bool keep>
static void forward(const Forward &f, int64_t t) {
    int64_t B = f.batch, H = f.width;
    for (int64_t g = f.first_group; g < f.last_group; g++)
        for (int64_t b = 0; b < B; b++) {
            int64_t row = (((g / 2) * f.frames + t) * B + b) * 2 + g % 2;
            Real *__restrict gates = static_cast<Real *>(f.gates) + row * 3 * H;
            const Real *__restrict recurrent = static_cast<Real *>(f.recurrent) + (g * B + b) * 3 * H;
            const float *__restrict bias = f.bias + g * 4 * H;
            float *__restrict carried = f.carried + (g * B + b) * H;
            Real *__restrict state = static_cast<Real *>(f.state) + (g * B + b) * H;
            Real *__restrict recurrent_n = static_cast<Real *>(f.recurrent_n) + row * H;
            fetch(gates + 6 * H, 3 * H);  // the next sample's
#pragma omp simd
            for (int64_t i = 0; i < H; i++) {
                float of_r = get(gates[i]) + get(recurrent[i]) + bias[i];
                float of_z = get(gates[H + i]) + get(recurrent[H + i]) + bias[H + i];
                float of_n = get(gates[2 * H + i]) + bias[2 * H + i];
                float from_h = get(recurrent[2 * H + i]) + bias[3 * H + i];
                Cell now = cell(of_r, of_z, of_n, from_h, carried[i]);
                carried[i] = now.h;
                put(state[i], now.h);
                if (keep) {
                    put(gates[i], now.r);
                    put(gates[H + i], now.z);
                    put(gates[2 * H + i], now.n);
                    put(recurrent_n[i], from_h);
                }
            }
            if (f.hidden) memcpy(static_cast<Real *>(f.hidden) + row * H, state, H * sizeof(Real));
        }
}

template <class Real>
static void backward(const Backward &f, int64_t t) {
    int64_t B = f.batch, H = f.width;
    float earlier = t > 0 ? 1.0f : 0.0f, pulled = !f.last_only || t == f.frames - 1 ? 1.0f : 0.0f;
    for (int64_t g = f.first_group; g < f.last_group; g++)
        for (int64_t b = 0; b < B; b++) {
            int64_t row = (((g / 2) * f.frames + t) * B + b) * 2 + g % 2;
            int64_t pulled_row = f.last_only ? ((g / 2) * B + b) * 2 + g % 2 : row;
            Real *__restrict gates = static_cast<Real *>(f.gates) + row * 3 * H;
            Real *__restrict recurrent_n = static_cast<Real *>(f.recurrent_n) + row * H;
            const Real *__restrict before = static_cast<const Real *>(f.hidden) + (t ? row - 2 * B : row) * H;
            const Real *__restrict pull = static_cast<const Real *>(f.grad_hidden) + pulled_row * H;
            const Real *__restrict grad_state = static_cast<const Real *>(f.grad_state) + (g * B + b) * H;
            float *__restrict carried = f.carried + (g * B + b) * H;
            Real *__restrict grad_recurrent = static_cast<Real *>(f.grad_recurrent) + (g * B + b) * 3 * H;
            float *__restrict grad_bias = f.grad_bias + g * 4 * H;
            fetch(gates + 6 * H, 3 * H);  // the next sample's
            fetch(recurrent_n + 2 * H, H);
            fetch(before + 2 * H, H);
            fetch(pull + 2 * H, H);
#pragma omp simd
            for (int64_t i = 0; i < H; i++) {
                float grad_h = carried[i] + get(grad_state[i]) + pulled * get(pull[i]);
                CellGradient grad = cell_gradient(get(gates[i]), get(gates[H + i]), get(gates[2 * H + i]), get(recurrent_n[i]),
                                                  earlier * get(before[i]), grad_h);
                put(gates[i], grad.r);
                put(gates[H + i], grad.z);
                put(gates[2 * H + i], grad.n);
                put(recurrent_n[i], grad.from_h);
                put(grad_recurrent[i], grad.r);
                put(grad_recurrent[H + i], grad.z);
                put(grad_recurrent[2 * H + i], grad.from_h);
                grad_bias[i] += grad.r;
                grad_bias[H + i] += grad.z;
                grad_bias[2 * H + i] += grad.n;
                grad_bias[3 * H + i] += grad.from_h;
                carried[i] = grad.before;
            }
        }
}

extern "C" {
void forward_float32(const Forward *f, int64_t t) { f->recurrent_n ? forward<float, true>(*f, t) : forward<float, false>(*f, t); }
void forward_bfloat16(const Forward *f, int64_t t) { f->recurrent_n ? forward<bfloat16, true>(*f, t) : forward<bfloat16, false>(*f, t); }
void backward_float32(const Backward *f, int64_t t) { backward<float>(*f, t); }
void backward_bfloat16(const Backward *f, int64_t t) { backward<bfloat16>(*f, t); }
}
