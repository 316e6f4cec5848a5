// One number of a GRU's state, forward and backward. Equations and gate order (r, z, n) are PyTorch's torch.nn.GRU.

#pragma once
#include "compute/elementary.h"

// Real: float, or vectors of them.
template <class Real>
static INLINED Real sigmoid(Real x) {
    Power<Real> e = power(bounded(x * -1.0f, 80.0f));
    return 1.0f / (e.scale * e.rest + (e.scale + 1.0f));
}
template <class Real>
static INLINED Real tanh(Real x) {
    Power<Real> e = power(bounded(x * 2.0f, 20.0f));
    Real minus_1 = e.scale * e.rest + (e.scale - 1.0f);
    return minus_1 / (minus_1 + 2.0f);
}
template <class Real>
static INLINED Real mixed(Real z, Real n, Real before) {
    return n + z * (before - n);
}

struct Cell {
    float r, z, n, h;
};
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
