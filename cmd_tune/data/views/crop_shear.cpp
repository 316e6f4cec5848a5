// One view of some clips: temporal crop, linear resize, shear or joint corruption, without an array in between.
//
// The numbers are those of crop_resize and distort in crop_shear.py, within rounding. native.py compiles this file,
// crop_shear.py calls it.
// B sample, T frame, V joint, C coordinate (2 or 3), P body, F stored frame, X = V·C·P, D distance of two coordinates
// (2·C − 1).

#include <cstdint>
#include <vector>

struct View {
    int64_t frames, joints, coordinates, bodies;
    const void *rows;        // (F, X) stored frames
    const int64_t *start;    // (B) first row of the crop
    const int64_t *length;   // (B) rows of the crop
    const float *matrix;     // (B, C, C)
    const float *kept;       // (B, V) 1 where the joint stays
    const float *mixed;      // (B, V) 1 where it is multiplied by the matrix
    float *view;             // (B, T, X)
};

// What a number of a frame becomes is a weighted sum of its joint's coordinates, which lie up to (C − 1)·P places
// before and after it. So a frame is D products of arrays, without a loop over joints: weight (D, X) is 0 past a joint's
// ends.
template <int64_t C>
static void weigh(const View *v, int64_t b, float *weight) {
    int64_t V = v->joints, P = v->bodies, X = V * C * P;
    const float *A = v->matrix + b * C * C;
    for (int64_t j = 0; j < V; j++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t d = 0; d < 2 * C - 1; d++) {
                int64_t from = c + d - (C - 1);
                float w = from < 0 || from > C - 1 ? 0 : v->mixed[b * V + j] * A[c * C + from];
                if (from == c) w += v->kept[b * V + j];
                for (int64_t p = 0; p < P; p++) weight[d * X + (j * C + c) * P + p] = w;
            }
}

// Asks for memory up to a place before it is read, and says how far it has come.
static const char *fetch(const char *from, const void *until) {
    for (; from < until; from += 64) __builtin_prefetch(from);
    return from;
}

template <class Row, int64_t C>
static void draw_view(const View *v, int64_t first, int64_t last) {
    int64_t T = v->frames, P = v->bodies, X = v->joints * C * P;
    constexpr float frames_ahead = 3;  // a clip's rows are soon over, and the next clip's are elsewhere
    std::vector<float> weights((2 * C - 1) * X), padded(X + 2 * (C - 1) * P);
    const float *__restrict w = weights.data();
    float *__restrict frame = padded.data() + (C - 1) * P;
    for (int64_t b = first; b < last; b++) {
        weigh<C>(v, b, weights.data());
        const Row *clip = static_cast<const Row *>(v->rows) + v->start[b] * X;
        const char *fetched = reinterpret_cast<const char *>(clip);
        float step = static_cast<float>(v->length[b]) / static_cast<float>(T);
        for (int64_t t = 0; t < T; t++) {
            float position = (static_cast<float>(t) + 0.5f) * step - 0.5f;
            if (position < 0) position = 0;
            int64_t end = v->length[b] - 1, below = static_cast<int64_t>(position);
            if (below > end) below = end;
            int64_t above = below < end ? below + 1 : end;
            float share = position - static_cast<float>(below);
            const Row *__restrict low = clip + below * X;
            const Row *__restrict high = clip + above * X;
            int64_t soon = above + static_cast<int64_t>(frames_ahead * step);
            fetched = fetch(fetched, clip + ((soon < end ? soon : end) + 1) * X);
            float *__restrict out = v->view + (b * T + t) * X;
#pragma omp simd
            for (int64_t i = 0; i < X; i++) {
                float here = low[i], next = high[i];
                frame[i] = here + share * (next - here);
            }
#pragma omp simd
            for (int64_t i = 0; i < X; i++)
                if constexpr (C == 2)
                    out[i] = w[i] * frame[i - P] + w[X + i] * frame[i] + w[2 * X + i] * frame[i + P];
                else
                    out[i] = w[i] * frame[i - 2 * P] + w[X + i] * frame[i - P] + w[2 * X + i] * frame[i] +
                             w[3 * X + i] * frame[i + P] + w[4 * X + i] * frame[i + 2 * P];
        }
    }
}

template <class Row>
static void draw_view(const View *v, int64_t first, int64_t last) {
    if (v->coordinates == 2)
        draw_view<Row, 2>(v, first, last);
    else
        draw_view<Row, 3>(v, first, last);
}

extern "C" {
void draw_view_float32(const View *v, int64_t first, int64_t last) { draw_view<float>(v, first, last); }
#ifdef __FLT16_MANT_DIG__  // compilers of before 2022 have no such type
void draw_view_float16(const View *v, int64_t first, int64_t last) { draw_view<_Float16>(v, first, last); }
#endif
}
