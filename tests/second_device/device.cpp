// A second device for PyTorch, made of the host's memory: what computes there computes as on the CPU, but an operation
// on tensors of both is an error, and copies from one to the other are counted, as are numbers that are read.
//
// Operations run on the same memory seen as the CPU's; PyTorch's dispatch key for devices of others is PrivateUse1.

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>

using at::IntArrayRef;
using at::Tensor;
using c10::SymIntArrayRef;

constexpr auto SECOND = c10::DeviceType::PrivateUse1;
static std::atomic<int64_t> crossings{0};

struct Guard final : c10::impl::DeviceGuardImplInterface {
    static constexpr c10::DeviceType static_type = SECOND;
    c10::DeviceType type() const override { return SECOND; }
    c10::Device getDevice() const override { return {SECOND, 0}; }
    c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
    void setDevice(c10::Device) const override {}
    void uncheckedSetDevice(c10::Device) const noexcept override {}
    c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
    c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
    c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

struct Hooks final : at::PrivateUse1HooksInterface {
    bool isAvailable() const override { return true; }
    bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};

struct Memory final : c10::Allocator {
    c10::DataPtr allocate(size_t bytes) override {
        void *place = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr;
        return {place, place, &free, {SECOND, 0}};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &free; }
    void copy_data(void *to, const void *from, size_t bytes) const override { memcpy(to, from, bytes); }
};
static Memory memory;
REGISTER_ALLOCATOR(SECOND, &memory)

static bool is_there(const Tensor &x) { return x.defined() && x.device().type() == SECOND; }

static Tensor seen_by_host(const Tensor &x) {
    auto options = at::TensorOptions().dtype(x.dtype());
    if (x.numel() == 0) return at::empty(x.sizes(), options);
    return at::for_blob(x.mutable_data_ptr(), x.sizes()).strides(x.strides()).options(options).make_tensor();
}

static Tensor empty_there(IntArrayRef size, IntArrayRef stride, at::ScalarType dtype) {
    return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype);
}

static Tensor moved_there(const Tensor &x) {
    Tensor out = empty_there(x.sizes(), x.strides(), x.scalar_type());
    seen_by_host(out).copy_(x);
    return out;
}

static void run_on_host(const c10::OperatorHandle &operation, torch::jit::Stack *stack) {
    std::vector<std::pair<Tensor, Tensor>> seen;  // a tensor there, and as the host sees it
    bool of_host = false;
    auto lend = [&](const Tensor &x) {
        if (!is_there(x)) {
            of_host |= x.defined() && x.dim() > 0;
            return x;
        }
        seen.emplace_back(x, seen_by_host(x));
        return seen.back().second;
    };
    auto first = stack->size() - operation.schema().arguments().size();
    for (auto i = first; i < stack->size(); i++) {
        auto &value = (*stack)[i];
        if (value.isTensor()) {
            value = lend(value.toTensor());
        } else if (value.isTensorList()) {
            auto list = value.toTensorVector();
            for (auto &x : list) x = lend(x);
            value = list;
        } else if (value.isOptionalTensorList()) {
            c10::List<std::optional<Tensor>> list;
            for (std::optional<Tensor> x : value.toOptionalTensorList()) list.push_back(x ? std::optional<Tensor>(lend(*x)) : x);
            value = list;
        } else if (value.isDevice()) {
            value = c10::Device(c10::kCPU);
        }
    }
    TORCH_CHECK(seen.empty() || !of_host, operation.schema().name(), ": tensors of both devices");
    operation.callBoxed(stack);

    auto give = [&](const Tensor &x) {
        if (!x.defined() || is_there(x)) return x;
        for (auto &[there, here] : seen)
            if (here.is_same(x)) {
                if (there.sizes() != x.sizes()) seen_by_host(there.resize_(x.sizes())).copy_(x);
                return there;
            }
        return moved_there(x);
    };
    for (auto i = stack->size() - operation.schema().returns().size(); i < stack->size(); i++) {
        auto &value = (*stack)[i];
        if (value.isTensor()) {
            value = give(value.toTensor());
        } else if (value.isTensorList()) {
            auto list = value.toTensorVector();
            for (auto &x : list) x = give(x);
            value = list;
        }
    }
}

#define INTS(x) C10_AS_INTARRAYREF_SLOW(x)

static Tensor empty(SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>,
                    std::optional<bool>, std::optional<at::MemoryFormat> format) {
    auto key = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);
    return at::detail::empty_generic(INTS(size), &memory, key, dtype.value_or(at::kFloat), format);
}

static Tensor empty_strided(SymIntArrayRef size, SymIntArrayRef stride, std::optional<at::ScalarType> dtype,
                            std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
    return empty_there(INTS(size), INTS(stride), dtype.value_or(at::kFloat));
}

static Tensor copy_from(const Tensor &from, const Tensor &to, bool) {
    if (is_there(from) != is_there(to) && to.dim() > 0) crossings++;
    (is_there(to) ? seen_by_host(to) : to).copy_(is_there(from) ? seen_by_host(from) : from);
    return to;
}

static at::Scalar read_number(const Tensor &x) {
    crossings++;
    return seen_by_host(x).item();
}

static const Tensor &resize(const Tensor &x, SymIntArrayRef size, std::optional<at::MemoryFormat>) {
    auto *implementation = x.unsafeGetTensorImpl();
    size_t bytes = (c10::multiply_integers(INTS(size)) + implementation->storage_offset()) * x.itemsize();
    auto *storage = implementation->storage().unsafeGetStorageImpl();
    if (storage->nbytes() < bytes) at::native::resize_bytes_cpu(storage, bytes);
    implementation->set_sizes_contiguous(INTS(size));
    return x;
}

static Tensor view(const Tensor &x, SymIntArrayRef size) { return at::native::view(x, INTS(size)); }
static Tensor reshape_alias(const Tensor &x, SymIntArrayRef size, SymIntArrayRef stride) {
    return at::native::_reshape_alias(x, INTS(size), INTS(stride));
}
static Tensor as_strided(const Tensor &x, SymIntArrayRef size, SymIntArrayRef stride, std::optional<c10::SymInt> offset) {
    auto at = offset ? std::optional<int64_t>(offset->expect_int()) : std::nullopt;
    return at::native::as_strided_tensorimpl(x, INTS(size), INTS(stride), at);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
    library.impl("empty.memory_format", TORCH_FN(empty));
    library.impl("empty_strided", TORCH_FN(empty_strided));
    library.impl("_copy_from", TORCH_FN(copy_from));
    library.impl("_local_scalar_dense", TORCH_FN(read_number));
    library.impl("resize_", TORCH_FN(resize));
    library.impl("view", TORCH_FN(view));
    library.impl("_reshape_alias", TORCH_FN(reshape_alias));
    library.impl("as_strided", TORCH_FN(as_strided));
}
TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
    library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

extern "C" {
void start() { at::RegisterPrivateUse1HooksInterface(new Hooks()); }
int64_t crossed() { return crossings; }
}
