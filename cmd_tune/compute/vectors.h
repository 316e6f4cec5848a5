// A processor's vectors of numbers, and several side by side: where each step of a formula waits for the one before, the
// processor is idle unless the same step of other numbers follows it. Compilers do not put loops in that order.

#pragma once
#include <cstdint>

#include "compute/elementary.h"

#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
#elif defined(__AVX__)
constexpr int64_t LANES = 8;
#else
constexpr int64_t LANES = 4;
#endif
typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(alignof(float)), may_alias));
typedef uint32_t VectorBits __attribute__((vector_size(LANES * sizeof(float)), aligned(alignof(float)), may_alias));

static inline Vector load(const float *x) { return *reinterpret_cast<const Vector *>(x); }
static inline void store(float *x, Vector v) { *reinterpret_cast<Vector *>(x) = v; }

template <int N>
struct Vectors {
    Vector of[N];

    template <class Function>
    static INLINED Vectors each(Function function) {
        Vectors v;
#pragma GCC unroll 8
        for (int i = 0; i < N; i++) v.of[i] = function(i);
        return v;
    }
    INLINED Vectors() {}
    INLINED Vectors(float x) : Vectors(each([&](int) { return Vector{} + x; })) {}
    static INLINED Vectors at(const float *x) {
        return each([&](int i) { return load(x + i * LANES); });
    }
    INLINED void put(float *x) const {
#pragma GCC unroll 8
        for (int i = 0; i < N; i++) store(x + i * LANES, of[i]);
    }
    friend INLINED Vectors operator+(Vectors a, Vectors b) {
        return each([&](int i) { return a.of[i] + b.of[i]; });
    }
    friend INLINED Vectors operator-(Vectors a, Vectors b) {
        return each([&](int i) { return a.of[i] - b.of[i]; });
    }
    friend INLINED Vectors operator*(Vectors a, Vectors b) {
        return each([&](int i) { return a.of[i] * b.of[i]; });
    }
    friend INLINED Vectors operator/(Vectors a, Vectors b) {
        return each([&](int i) { return a.of[i] / b.of[i]; });
    }
};

template <int N>
static INLINED Vectors<N> bounded(Vectors<N> x, float bound) {
    Vector most = Vector{} + bound, least = -most;
    x = x.each([&](int i) { return x.of[i] < least ? least : x.of[i]; });
    return x.each([&](int i) { return x.of[i] > most ? most : x.of[i]; });
}

template <int N>
static INLINED Vectors<N> power_of_two(Vectors<N> shifted) {
    return shifted.each([&](int i) { return (Vector)(((VectorBits)shifted.of[i] << 23) + 0x3f800000u); });
}
