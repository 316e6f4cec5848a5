// Batch norm of the input: reads it from memory twice and writes it once, since a sample stays in the cache between the
// sum of its frames and that of their squares.
//
// native.py compiles this file, input_norm.py calls it. M modality, B sample, T frame, X input channel.

#include <cstdint>

#include "compute/fetch.h"

struct Moments {
    int64_t frames, channels;
    const float *x;  // (M·B, T, X)
    float *mean;     // (M·B, X) of a sample's frames
    float *square;   // (M·B, X) sum of squares about it
};

struct Standardise {
    int64_t batch, frames, channels;
    const float *x;      // (M, B, T, X)
    const float *mean;   // (M, X)
    const float *scale;  // (M, X)
    float *standard;     // (M, T, B, X)
};

static void moments(const Moments &n, int64_t first, int64_t last) {
    int64_t T = n.frames, X = n.channels;
    float share = 1 / static_cast<float>(T);
    for (int64_t row = first; row < last; row++) {
        const float *__restrict x = n.x + row * T * X;
        float *__restrict mean = n.mean + row * X;
        float *__restrict square = n.square + row * X;
        for (int64_t i = 0; i < X; i++) mean[i] = square[i] = 0;
        for (int64_t t = 0; t < T; t++) {
#pragma omp simd
            for (int64_t i = 0; i < X; i++) mean[i] += x[t * X + i];
        }
        for (int64_t i = 0; i < X; i++) mean[i] *= share;
        for (int64_t t = 0; t < T; t++) {
#pragma omp simd
            for (int64_t i = 0; i < X; i++) square[i] += (x[t * X + i] - mean[i]) * (x[t * X + i] - mean[i]);
        }
    }
}

static void standardise(const Standardise &n, int64_t first, int64_t last) {
    int64_t B = n.batch, T = n.frames, X = n.channels;
    for (int64_t frame = first; frame < last; frame++) {
        int64_t m = frame / T, t = frame % T;
        const float *__restrict mean = n.mean + m * X;
        const float *__restrict scale = n.scale + m * X;
        for (int64_t b = 0; b < B; b++) {
            const float *__restrict x = n.x + ((m * B + b) * T + t) * X;
            float *__restrict standard = n.standard + (frame * B + b) * X;
            fetch(x + T * X, X);  // the next sample's
#pragma omp simd
            for (int64_t i = 0; i < X; i++) standard[i] = (x[i] - mean[i]) * scale[i];
        }
    }
}

extern "C" {
// samples first … last − 1 of all modalities
void moments_float32(const Moments *n, int64_t first, int64_t last) { moments(*n, first, last); }
// frames first … last − 1 of all modalities
void standardise_float32(const Standardise *n, int64_t first, int64_t last) { standardise(*n, first, last); }
}
