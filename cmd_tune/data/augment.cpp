// One view of some clips: temporal crop, linear resize, shear or joint corruption, without an array in between.
//
// The numbers are those of crop_resize and distort in augment.py. native.py compiles this file, augment.py calls it.
// B sample, T frame, V joint, C coordinate (3), P body, F stored frame, X = V·C·P.

#include <cstdint>

struct View {
    int64_t frames, joints, bodies;
    const void *rows;        // (F, X) stored frames
    const int64_t *start;    // (B) first row of the crop
    const int64_t *length;   // (B) rows of the crop
    const float *matrix;     // (B, C, C)
    const float *kept;       // (B, V) 1 where the joint stays
    const float *mixed;      // (B, V) 1 where it is multiplied by the matrix
    float *view;             // (B, T, X)
};

template <class Row>
static void draw_view(const View *v, int64_t first, int64_t last) {
    int64_t T = v->frames, V = v->joints, P = v->bodies, X = V * 3 * P;
    for (int64_t b = first; b < last; b++) {
        const float *A = v->matrix + b * 9;
        float step = static_cast<float>(v->length[b]) / static_cast<float>(T);
        for (int64_t t = 0; t < T; t++) {
            float position = (static_cast<float>(t) + 0.5f) * step - 0.5f;
            if (position < 0) position = 0;
            int64_t end = v->length[b] - 1, below = static_cast<int64_t>(position);
            if (below > end) below = end;
            int64_t above = below < end ? below + 1 : end;
            float share = position - static_cast<float>(below);
            const Row *__restrict low = static_cast<const Row *>(v->rows) + (v->start[b] + below) * X;
            const Row *__restrict high = static_cast<const Row *>(v->rows) + (v->start[b] + above) * X;
            float *__restrict out = v->view + (b * T + t) * X;
#pragma omp simd
            for (int64_t i = 0; i < X; i++) {
                float here = low[i], next = high[i];
                out[i] = here + share * (next - here);
            }
            for (int64_t j = 0; j < V; j++) {
                float kept = v->kept[b * V + j], mixed = v->mixed[b * V + j];
                float *joint = out + j * 3 * P;
                for (int64_t p = 0; p < P; p++) {
                    float x = joint[p], y = joint[P + p], z = joint[2 * P + p];
                    joint[p] = kept * x + mixed * (A[0] * x + A[1] * y + A[2] * z);
                    joint[P + p] = kept * y + mixed * (A[3] * x + A[4] * y + A[5] * z);
                    joint[2 * P + p] = kept * z + mixed * (A[6] * x + A[7] * y + A[8] * z);
                }
            }
        }
    }
}

extern "C" {
void draw_view_float32(const View *v, int64_t first, int64_t last) { draw_view<float>(v, first, last); }
#ifdef __FLT16_MANT_DIG__  // compilers of before 2022 have no such type
void draw_view_float16(const View *v, int64_t first, int64_t last) { draw_view<_Float16>(v, first, last); }
#endif
}
