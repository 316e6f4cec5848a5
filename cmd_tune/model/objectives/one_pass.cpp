// Base, MCL and CMD of some samples with their gradient in the similarities, a sample at a time: what lies between
// stays in the cache, and no row is gathered, since rows that a teacher did not choose are passed over in place.
//
// The numbers are those of contrast.py and distillation.py, within rounding; so are the names. native.py compiles this
// file, one_pass.py calls it.
// P trial, M modality, G of all trials' modalities, A modality that asks a bank, B sample, K bank row.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "compute/elementary.h"

struct Objective {
    int64_t modalities, asking, batch, rows, distillation;  // 0 none, 1 pairwise, 2 consensus
    const float *numbers;   // (P, 7), as below
    const float *positive;  // (G, A, B) similarities of queries to keys
    float *similarities;    // (G, A·B, K) of queries to the bank; afterwards the gradient of the batch's mean loss.
                            // With distillation (G, A·B + B, K): those of keys follow
    float *grad_positive;   // (G, A, B)
    float *contrast;        // (G, A, B)
    float *distilled;       // (P, B)
    float *hits;            // (G, B) 1 where the positive beats the whole bank

    int64_t stride() const { return (asking * batch + (distillation ? batch : 0)) * rows; }

    Objective of(int64_t trial) const {
        Objective its = *this;
        int64_t first = trial * modalities;
        its.numbers += trial * 7;
        its.positive += first * asking * batch;
        its.similarities += first * stride();
        its.grad_positive += first * asking * batch;
        its.contrast += first * asking * batch;
        its.distilled += trial * batch;
        its.hits += first * batch;
        return its;
    }

    float contrast_temperature() const { return numbers[0]; }
    float student_temperature() const { return numbers[1]; }
    float teacher_temperature() const { return numbers[2]; }
    float itself() const { return numbers[3]; }  // weights of a modality's contrast with itself, with others, of the
    float others() const { return numbers[4]; }  // distillation
    float distill_weight() const { return numbers[5]; }
    int64_t topk() const { return static_cast<int64_t>(numbers[6]); }
};

static float largest(const float *x, int64_t K) {
    float top = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < K; j++) top = x[j] > top ? x[j] : top;
    return top;
}

// Which rows of a bank are somebody's neighbours: those whose key reaches the bound.
struct Neighbours {
    std::vector<int32_t> key;
    int32_t bound = 0;

    explicit Neighbours(int64_t K) : key(K) {}

    // The N rows with the largest x; of equal ones at the end of it, the first.
    void choose(const float *x, int64_t N) {
        int64_t K = static_cast<int64_t>(key.size()), reached = K;
        int32_t *__restrict keys = key.data();
#pragma omp simd
        for (int64_t j = 0; j < K; j++) {  // integers in the order of the numbers
            int32_t bits = __builtin_bit_cast(int32_t, x[j]);
            keys[j] = bits ^ ((bits >> 31) & 0x7fffffff);
        }
        uint32_t known = 0;  // the bound's leading bits, counted from the least integer
        for (int bit = 31; bit >= 0 && reached != N; bit--) {
            uint32_t tried = known | (1u << bit);
            int32_t least = static_cast<int32_t>(tried ^ 0x80000000u), count = 0;
#pragma omp simd reduction(+ : count)
            for (int64_t j = 0; j < K; j++) count += keys[j] >= least;
            if (count >= N) known = tried, reached = count;
        }
        bound = static_cast<int32_t>(known ^ 0x80000000u);
        for (int64_t j = K - 1; reached > N && j >= 0; j--)
            if (keys[j] == bound) keys[j] = std::numeric_limits<int32_t>::min(), reached--;
    }
};

// A teacher's distribution over its neighbours; p is 0 elsewhere.
struct Teacher {
    Neighbours neighbours;
    std::vector<float> p, log_p;

    explicit Teacher(int64_t K) : neighbours(K), p(K), log_p(K) {}

    // Softmax of similarities over their topk.
    void look(const float *similarity, int64_t topk, float temperature) {
        int64_t K = static_cast<int64_t>(p.size());
        neighbours.choose(similarity, topk);
        const int32_t *__restrict key = neighbours.key.data();
        float *__restrict P = p.data();
        float *__restrict L = log_p.data();
        float top = largest(similarity, K), total = 0, colder = 1 / temperature;
        int32_t bound = neighbours.bound;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < K; j++) {
            L[j] = (similarity[j] - top) * colder;
            float e = exp_or_0(L[j]);
            P[j] = key[j] >= bound ? e : 0;
            total += P[j];
        }
        float share = 1 / total, log_total = std::log(total);
#pragma omp simd
        for (int64_t j = 0; j < K; j++) P[j] *= share, L[j] -= log_total;
    }

    // What is given of a sum of distributions, over the topk of that.
    void look_at_sum(const float *sum, int64_t topk) {
        int64_t K = static_cast<int64_t>(p.size());
        neighbours.choose(sum, topk);
        const int32_t *__restrict key = neighbours.key.data();
        float *__restrict P = p.data();
        float *__restrict L = log_p.data();
        float total = 0;
        int32_t bound = neighbours.bound;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < K; j++) {
            P[j] = key[j] >= bound ? sum[j] : 0;
            total += P[j];
        }
        float share = 1 / total;
#pragma omp simd
        for (int64_t j = 0; j < K; j++) P[j] *= share, L[j] = log_or_least(P[j]);
    }

    // KL of a student's distribution over the same rows from this one, and its gradient, weighed, added to `gradient`.
    float teach(const float *similarity, float temperature, float weight, float *__restrict gradient, float *__restrict e) const {
        int64_t K = static_cast<int64_t>(p.size());
        const int32_t *__restrict key = neighbours.key.data();
        const float *__restrict P = p.data();
        const float *__restrict L = log_p.data();
        int32_t bound = neighbours.bound;
        float top = -std::numeric_limits<float>::infinity(), total = 0, apart = 0, colder = 1 / temperature;
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < K; j++) {
            float x = key[j] >= bound ? similarity[j] : -std::numeric_limits<float>::infinity();
            top = x > top ? x : top;
        }
#pragma omp simd reduction(+ : total, apart)
        for (int64_t j = 0; j < K; j++) {
            float log_s = (similarity[j] - top) * colder, s = exp_or_0(log_s);
            e[j] = key[j] >= bound ? s : 0;
            total += e[j];
            apart += P[j] * (L[j] - log_s);
        }
        float share = 1 / total, by = weight * colder;
#pragma omp simd
        for (int64_t j = 0; j < K; j++) gradient[j] += by * (e[j] * share - P[j]);
        return apart + std::log(total);
    }
};

// Sums over all teachers but one's own of their distributions over all rows, (M, K): what stands before it, and what
// stands after it.
struct Others {
    int64_t M, K;
    std::vector<float> p, after, before;

    Others(int64_t M, int64_t K) : M(M), K(K), p(M * K), after(M * K), before(K) {}

    void add_up(const float *similarities, int64_t stride, float temperature) {
        constexpr float next_to_nothing = 1e-37f;  // orders the rows that a cold teacher gives nothing
        float colder = 1 / temperature;
        for (int64_t a = 0; a < M; a++) {
            const float *__restrict t = similarities + a * stride;
            float *__restrict P = p.data() + a * K;
            float top = largest(t, K), total = 0;
#pragma omp simd reduction(+ : total)
            for (int64_t j = 0; j < K; j++) total += P[j] = exp_or_0((t[j] - top) * colder);
            float share = 1 / total;
#pragma omp simd
            for (int64_t j = 0; j < K; j++) P[j] = P[j] * share + next_to_nothing * (1 + t[j]);
        }
        for (int64_t j = 0; j < K; j++) before[j] = after[(M - 1) * K + j] = 0;
        for (int64_t i = (M - 1) * K - 1; i >= 0; i--) after[i] = after[i + K] + p[i + K];
    }

    // The sum for m's student, (K); asked for in order.
    const float *sum_for(int64_t m) {
        float *__restrict sum = after.data() + m * K;
        float *__restrict so_far = before.data();
        const float *__restrict P = p.data() + m * K;
#pragma omp simd
        for (int64_t j = 0; j < K; j++) sum[j] += so_far[j], so_far[j] += P[j];
        return sum;
    }
};

static void losses(const Objective &o, int64_t first, int64_t last) {
    int64_t M = o.modalities, A = o.asking, B = o.batch, K = o.rows;
    int64_t stride = o.stride(), topk = o.topk();
    float contrast_colder = 1 / o.contrast_temperature(), student_temperature = o.student_temperature();
    float share = 1 / static_cast<float>(B), own = o.itself(), other = o.others(), distill = o.distill_weight() * share;
    std::vector<float> gradients(M * K), exponentials(K);
    Teacher teacher(o.distillation ? K : 0);
    Others others(M, o.distillation == 2 ? K : 0);
    for (int64_t b = first; b < last; b++) {
        const float *students = o.similarities + b * K, *keys = o.similarities + (A * B + b) * K;
        float distilled = 0;
        for (float &x : gradients) x = 0;
        auto teach = [&](int64_t m, float weight) {
            return teacher.teach(students + m * stride, student_temperature, weight, gradients.data() + m * K, exponentials.data());
        };
        if (o.distillation == 1)
            for (int64_t a = 0; a < M; a++) {
                teacher.look(keys + a * stride, topk, o.teacher_temperature());
                for (int64_t m = 0; m < M; m++)
                    if (m != a) distilled += teach(m, distill);
            }
        if (o.distillation == 2) {
            others.add_up(keys, stride, o.teacher_temperature());
            float pairs = static_cast<float>(M - 1);
            for (int64_t m = 0; m < M; m++) {
                teacher.look_at_sum(others.sum_for(m), topk);
                distilled += pairs * teach(m, pairs * distill);
            }
        }
        o.distilled[b] = distilled;

        for (int64_t m = 0; m < M; m++)
            for (int64_t a = 0; a < A; a++) {
                int64_t at = (m * A + a) * B + b;
                bool itself = A == 1 || a == m;
                float *__restrict similarity = o.similarities + m * stride + (a * B + b) * K;
                const float *__restrict gradient = gradients.data() + m * K;
                float positive = o.positive[at], in_bank = largest(similarity, K);
                float top = positive > in_bank ? positive : in_bank, weight = itself ? own : other;
                float of_positive = exp_or_0((positive - top) * contrast_colder), total = 0;
#pragma omp simd reduction(+ : total)
                for (int64_t j = 0; j < K; j++) total += similarity[j] = exp_or_0((similarity[j] - top) * contrast_colder);
                float by = weight * share * contrast_colder, of_bank = total;
                total += of_positive;
                o.contrast[at] = std::log(total) - (positive - top) * contrast_colder;
                o.grad_positive[at] = -by * of_bank / total;
                by /= total;
#pragma omp simd
                for (int64_t j = 0; j < K; j++) similarity[j] = by * similarity[j] + gradient[j];
                if (itself) o.hits[m * B + b] = positive > in_bank ? 1 : 0;
            }
    }
}

extern "C" {
// samples first … last − 1 of a trial
void losses_float32(const Objective *o, int64_t trial, int64_t first, int64_t last) { losses(o->of(trial), first, last); }
}
