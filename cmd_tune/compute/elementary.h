// Exponential and logarithm in float32 without a branch or a table, so that loops over them are vectorised.

#pragma once
#include <cstdint>

#define INLINED inline __attribute__((always_inline))  // or GCC passes vectors through memory

static inline float bounded(float x, float bound) {
    float not_less = x < -bound ? -bound : x;
    return not_less > bound ? bound : not_less;
}

// 2^k for shifted = k + 1.5·2^23, which leaves the integer in the low bits.
static inline float power_of_two(float shifted) {
    return __builtin_bit_cast(float, (__builtin_bit_cast(uint32_t, shifted) << 23) + 0x3f800000u);
}

// e^x for |x| ≤ 87 as scale·(1 + rest): 2^k with k the integer nearest to x / ln 2, and e^r − 1 for |r| ≤ ln 2 / 2, by the
// polynomial of its degree that has the least relative error, 1.4e-8. Real: float, or vectors of them.
template <class Real>
struct Power {
    Real scale, rest;
};
template <class Real>
static INLINED Power<Real> power(Real x) {
    Real shifted = x * 1.44269504f + 12582912.0f;
    Real k = shifted - 12582912.0f;
    Real r = x - k * 0.693145752f - k * 1.42860677e-6f;
    Real p = r * 1.39465544e-3f + 8.36664438e-3f;
    p = p * r + 4.16662805e-2f;
    p = p * r + 1.66665420e-1f;
    p = p * r + 0.5f;
    p = p * r * r + r;
    return {power_of_two(shifted), p};
}

// e^x for x ≤ 87; 0 below −87, where it is next to nothing.
static inline float exp_or_0(float x) {
    Power<float> e = power(bounded(x, 87.0f));
    return x < -87.0f ? 0.0f : e.scale * e.rest + e.scale;
}

// The logarithm of a positive number that is not denormal; −88.0 of 0. For x = 2^k·m with m in [√½, √2) it is
// k ln 2 + 2 artanh s, where s = (m − 1) / (m + 1).
static inline float log_or_least(float x) {
    uint32_t bits = __builtin_bit_cast(uint32_t, x) - 0x3f3504f3u;  // √½'s: what carries into the exponent is m's
    float k = static_cast<float>(static_cast<int32_t>(bits) >> 23);
    float m = __builtin_bit_cast(float, (bits & 0x007fffffu) + 0x3f3504f3u);
    float s = (m - 1.0f) / (m + 1.0f), square = s * s;
    float p = 1.0f / 9.0f;
    p = p * square + 1.0f / 7.0f;
    p = p * square + 1.0f / 5.0f;
    p = p * square + 1.0f / 3.0f;
    return k * 0.693147181f + 2.0f * (s + s * square * p);
}
