// A layer of many independent GRUs of few hidden numbers, all frames of some groups in one call, products included.
//
// What a frame needs lies in a core's cache: the group's weights, and the frame's gates for the whole batch. So neither
// are the input products written to memory and read again, nor does a thread wait between frames. All is float32.
// native.py compiles this file, gru_whole_layer.py calls it. M modality, T frame, B sample, I input, H hidden, G group:
// modality g / 2, direction g % 2. Widths are padded to whole panels: P of them are H.

#include <cstdint>
#include <cstring>
#include <memory>

#include "compute/fetch.h"
#include "compute/vectors.h"
#include "model/encoders/gru_cell.h"

struct LayerForward {
    int64_t frames, batch, inputs, width;
    const float *x;          // (M, T, B, I)
    const float *weight_ih;  // (G, 3H, I)
    const float *weight_hh;  // (G, 3H, H)
    const float *bias;       // (G, 4H) of r and z (input's and recurrent's together), of n's input, of n's recurrent part
    float *last;             // (M, B, 2, H) h of the last frame
    float *hidden;           // (M, T, B, 2, H) h of every frame, or null
    float *gates;            // (M, T, B, 2, 3H) r, z, n, or null
    float *recurrent_n;      // (M, T, B, 2, H) n's recurrent part, or null
};

struct LayerBackward {
    int64_t frames, batch, inputs, width, last_only, learns;
    const float *x, *weight_hh, *hidden, *recurrent_n;  // as above
    const float *grad_hidden;  // (M, T, B, 2, H), or (M, B, 2, H) of the last frame where last_only
    float *gates;              // (M, T, B, 2, 3H) r, z, n; afterwards, if the input learns, gradient of its products
    float *grad_weight_ih;     // (G, 3H, I)
    float *grad_weight_hh;     // (G, 3H, H)
    float *grad_bias;          // (G, 4H) as bias, summed over frames and samples
};

constexpr int64_t PANEL = 2 * LANES;  // columns of a product that are computed together
constexpr int TILE = 6;               // and rows: with two vectors each, they fill most registers
static inline int64_t panels(int64_t columns) { return (columns + PANEL - 1) / PANEL; }
static inline int64_t padded(int64_t columns) { return panels(columns) * PANEL; }

struct Room {  // zeroed memory for one call
    std::unique_ptr<float[]> numbers;
    explicit Room(int64_t size) : numbers(new float[size]()) {}
    operator float *() const { return numbers.get(); }
};

// Row k of a (terms × columns) into `to`, panels of its columns; columns of 0 behind them stay as they are.
static inline void pack(const float *row, int64_t k, int64_t terms, int64_t columns, float *to) {
    to += k * PANEL;
    for (; columns >= PANEL; columns -= PANEL, row += PANEL, to += terms * PANEL) memcpy(to, row, PANEL * sizeof(float));
    memcpy(to, row, columns * sizeof(float));
}

// The same of the transpose of a (columns × terms).
static void pack_transposed(const float *a, int64_t terms, int64_t columns, float *to) {
    for (int64_t first = 0; first < columns; first += PANEL, to += terms * PANEL)
        for (int64_t j = 0; j < PANEL && first + j < columns; j++)
            for (int64_t k = 0; k < terms; k++) to[k * PANEL + j] = a[(first + j) * terms + k];
}

struct Factors {  // of a product of `terms` terms: a number of the left one is at a[row * rows + term * step]
    const float *a;
    int64_t row, step, terms;
    const float *packed;
};

template <int rows>
static inline void tile(const Factors *factors, int count, int64_t first, int64_t panel, const float *start,
                        int64_t start_row, float *to, int64_t to_row) {
    Vector sum[rows][2];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        sum[i][0] = load(start + i * start_row);
        sum[i][1] = load(start + i * start_row + LANES);
    }
    for (int f = 0; f < count; f++) {
        const Factors &of = factors[f];
        const float *__restrict a = of.a + first * of.row, *__restrict b = of.packed + panel * of.terms * PANEL;
        for (int64_t k = 0; k < of.terms; k++, a += of.step, b += PANEL) {
            Vector b0 = load(b), b1 = load(b + LANES);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                float factor = a[i * of.row];
                sum[i][0] += factor * b0;
                sum[i][1] += factor * b1;
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        store(to + i * to_row, sum[i][0]);
        store(to + i * to_row + LANES, sum[i][1]);
    }
}

// to (rows × whole panels) = start + the sum of the products. start_row is 0 if all rows start with one.
static void products(int64_t rows, int64_t columns, const Factors *factors, int count, const float *start,
                     int64_t start_row, float *to, int64_t to_row) {
    for (int64_t p = 0; p < panels(columns); p++)
        for (int64_t i = 0; i < rows; i += TILE) {
            const float *from = start + i * start_row + p * PANEL;
            float *into = to + i * to_row + p * PANEL;
            switch (rows - i) {
                case 1: tile<1>(factors, count, i, p, from, start_row, into, to_row); break;
                case 2: tile<2>(factors, count, i, p, from, start_row, into, to_row); break;
                case 3: tile<3>(factors, count, i, p, from, start_row, into, to_row); break;
                case 4: tile<4>(factors, count, i, p, from, start_row, into, to_row); break;
                case 5: tile<5>(factors, count, i, p, from, start_row, into, to_row); break;
                default: tile<TILE>(factors, count, i, p, from, start_row, into, to_row);
            }
        }
}

// Numbers of a sample's row of the frame, where a part has P: what n is of becomes n, h the new state.
template <int N>
static inline void step_state(float *frame, float *h, int64_t P) {
    using Reals = Vectors<N>;
    Reals n = tanh(Reals::at(frame + 2 * P) + Reals::at(frame) * Reals::at(frame + 3 * P));
    n.put(frame + 2 * P);
    mixed(Reals::at(frame + P), n, Reals::at(h)).put(h);
}

// The whole row: r, z and n in place of what they are of.
static void step(float *frame, float *h, int64_t P) {
    for (int64_t i = 0; i < 2 * P; i += 2 * PANEL) sigmoid(Vectors<4>::at(frame + i)).put(frame + i);
    int64_t i = 0;
    for (; i + 2 * PANEL <= P; i += 2 * PANEL) step_state<4>(frame + i, h + i, P);
    for (; i < P; i += PANEL) step_state<2>(frame + i, h + i, P);
}

static void forward(const LayerForward &f, int64_t first_group, int64_t last_group) {
    int64_t T = f.frames, B = f.batch, I = f.inputs, H = f.width, P = padded(H);
    Room weight_ih(3 * P * I), weight_hh(3 * P * H), bias(4 * P), frame(B * 4 * P), state(B * P);
    for (int64_t g = first_group; g < last_group; g++) {
        for (int64_t gate = 0; gate < 3; gate++) {
            pack_transposed(f.weight_ih + (g * 3 + gate) * H * I, I, H, weight_ih + gate * P * I);
            pack_transposed(f.weight_hh + (g * 3 + gate) * H * H, H, H, weight_hh + gate * P * H);
        }
        for (int64_t part = 0; part < 4; part++) memcpy(bias + part * P, f.bias + (g * 4 + part) * H, H * sizeof(float));
        memset(state, 0, B * P * sizeof(float));
        for (int64_t t = 0; t < T; t++) {
            int64_t start = ((g / 2) * T + t) * B, terms = t ? H : 0;  // before the first frame the state is 0
            Factors input{f.x + start * I, I, 1, I, weight_ih}, before{state, P, 1, terms, weight_hh};
            Factors input_n{input.a, I, 1, I, weight_ih + 2 * P * I}, before_n{state, P, 1, terms, weight_hh + 2 * P * H};
            Factors both[2] = {input, before};
            products(B, 2 * P, both, 2, bias, 0, frame, 4 * P);
            products(B, P, &input_n, 1, bias + 2 * P, 0, frame + 2 * P, 4 * P);
            products(B, P, &before_n, 1, bias + 3 * P, 0, frame + 3 * P, 4 * P);
            for (int64_t b = 0; b < B; b++) {
                int64_t row = (start + b) * 2 + g % 2, next = row + 2;
                float *done = frame + b * 4 * P, *h = state + b * P;
                step(done, h, P);
                fetch(f.x + (start + B + b) * I, I);  // the next frame's
                if (f.gates) {
                    fetch(f.gates + next * 3 * H, 3 * H);
                    fetch(f.recurrent_n + next * H, H);
                    for (int64_t gate = 0; gate < 3; gate++)
                        memcpy(f.gates + (row * 3 + gate) * H, done + gate * P, H * sizeof(float));
                    memcpy(f.recurrent_n + row * H, done + 3 * P, H * sizeof(float));
                }
                if (f.hidden) {
                    fetch(f.hidden + next * H, H);
                    memcpy(f.hidden + row * H, h, H * sizeof(float));
                }
            }
        }
        for (int64_t b = 0; b < B; b++)
            memcpy(f.last + (((g / 2) * B + b) * 2 + g % 2) * H, state + b * P, H * sizeof(float));
    }
}

template <bool learns>
static void backward(const LayerBackward &f, int64_t first_group, int64_t last_group) {
    int64_t T = f.frames, B = f.batch, I = f.inputs, H = f.width, P = padded(H), Q = padded(I);
    int64_t W = 4 * H + 16;  // of a row of grads: gradients of n, r, z and of n's recurrent part. 16, lest all rows share a few
                             // sets of the cache; n first, so that input's and recurrent's gates are three in a row each
    Room weight_hh(3 * H * P), x(B * Q), before(B * P), grads(B * W), grad_state(B * P);
    Room grad_weight_ih(3 * H * Q), grad_weight_hh(3 * H * P);
    for (int64_t g = first_group; g < last_group; g++) {
        float *__restrict grad_bias = f.grad_bias + g * 4 * H;
        for (int64_t k = 0; k < 3 * H; k++) pack(f.weight_hh + (g * 3 * H + k) * H, k, 3 * H, H, weight_hh);
        memset(grad_state, 0, B * P * sizeof(float));
        memset(grad_weight_ih, 0, 3 * H * Q * sizeof(float));
        memset(grad_weight_hh, 0, 3 * H * P * sizeof(float));
        memset(grad_bias, 0, 4 * H * sizeof(float));
        for (int64_t t = T - 1; t >= 0; t--) {
            int64_t start = ((g / 2) * T + t) * B;
            float earlier = t > 0 ? 1.0f : 0.0f, pulled = !f.last_only || t == T - 1 ? 1.0f : 0.0f;
            for (int64_t b = 0; b < B; b++) {
                int64_t row = (start + b) * 2 + g % 2, pulled_row = f.last_only ? ((g / 2) * B + b) * 2 + g % 2 : row;
                float *__restrict gates = f.gates + row * 3 * H;
                const float *__restrict recurrent_n = f.recurrent_n + row * H;
                const float *__restrict h = f.hidden + (t ? row - 2 * B : row) * H;
                const float *__restrict pull = f.grad_hidden + pulled_row * H;
                float *__restrict grad_h = grad_state + b * P;
                float *__restrict grad = grads + b * W;
                fetch(gates + 6 * H, 3 * H);  // the next sample's
                fetch(recurrent_n + 2 * H, H);
                fetch(h + 2 * H, H);
                fetch(pull + 2 * H, H);
                fetch(f.x + (start + b + 1) * I, I);
                pack(f.x + (start + b) * I, b, B, I, x);
                pack(h, b, B, H, before);
#pragma omp simd
                for (int64_t i = 0; i < H; i++) {
                    CellGradient of = cell_gradient(gates[i], gates[H + i], gates[2 * H + i], recurrent_n[i],
                                                    earlier * h[i], grad_h[i] + pulled * pull[i]);
                    grad[i] = of.n;
                    grad[H + i] = of.r;
                    grad[2 * H + i] = of.z;
                    grad[3 * H + i] = of.from_h;
                    grad_bias[i] += of.r;
                    grad_bias[H + i] += of.z;
                    grad_bias[2 * H + i] += of.n;
                    grad_bias[3 * H + i] += of.from_h;
                    grad_h[i] = of.before;
                }
                if (learns) {
                    memcpy(gates, grad + H, 2 * H * sizeof(float));
                    memcpy(gates + 2 * H, grad, H * sizeof(float));
                }
            }
            Factors input{grads, 1, W, B, x};
            products(3 * H, I, &input, 1, grad_weight_ih, Q, grad_weight_ih, Q);
            if (t == 0) break;
            Factors recurrent{grads + H, 1, W, B, before}, to_before{grads + H, W, 1, 3 * H, weight_hh};
            products(3 * H, H, &recurrent, 1, grad_weight_hh, P, grad_weight_hh, P);
            products(B, H, &to_before, 1, grad_state, P, grad_state, P);
        }
        for (int64_t j = 0; j < 3 * H; j++) {
            int64_t of_j = (j + H) % (3 * H);  // n first
            memcpy(f.grad_weight_ih + (g * 3 * H + j) * I, grad_weight_ih + of_j * Q, I * sizeof(float));
            memcpy(f.grad_weight_hh + (g * 3 * H + j) * H, grad_weight_hh + j * P, H * sizeof(float));
        }
    }
}

extern "C" {
void layer_forward_float32(const LayerForward *f, int64_t first, int64_t last) {
    forward(*f, first, last);
}
void layer_backward_float32(const LayerBackward *f, int64_t first, int64_t last) {
    f->learns ? backward<true>(*f, first, last) : backward<false>(*f, first, last);
}
}
