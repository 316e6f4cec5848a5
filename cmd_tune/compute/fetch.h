// Asks for a row of numbers that is needed next: a processor does not foresee rows as short as a sample's.

#pragma once
#include <cstdint>

template <class Real>
static inline void fetch(const Real *row, int64_t width) {
    const char *first = reinterpret_cast<const char *>(row);
    for (int64_t byte = 0; byte < width * static_cast<int64_t>(sizeof(Real)); byte += 64) __builtin_prefetch(first + byte);
}
