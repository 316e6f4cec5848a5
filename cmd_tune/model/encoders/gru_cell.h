// One number of a GRU's state, forward and backward. Equations and gate order (r, z, n) are PyTorch's torch.nn.GRU.

#pragma once
#include "compute/elementary.h"

static inline float sigmoid(float x) { return 1.0f / (2.0f + exp_minus_1(bounded(-x, 80.0f))); }
static inline float tanh(float x) {
    float e = exp_minus_1(bounded(2.0f * x, 20.0f));
    return e / (e + 2.0f);
}

struct Cell {
    float r, z, n, h;
};
static inline float mixed(float z, float n, float before) { return n + z * (before - n); }
// of_r, of_z, of_n: what the gates are of; of_n without n's recurrent part, from_h. before: h of the frame before.
static inline Cell cell(float of_r, float of_z, float of_n, float from_h, float before) {
    float r = sigmoid(of_r), z = sigmoid(of_z), n = tanh(of_n + r * from_h);
    return {r, z, n, mixed(z, n, before)};
}

struct CellGradient {
    float r, z, n, from_h, before;  // before: without what comes through the recurrent products
};
static inline CellGradient cell_gradient(float r, float z, float n, float from_h, float before, float grad_h) {
    float grad_n = grad_h * (1 - z) * (1 - n * n);
    return {grad_n * from_h * r * (1 - r), grad_h * (before - n) * z * (1 - z), grad_n, grad_n * r, grad_h * z};
}
