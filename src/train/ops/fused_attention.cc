#include <algorithm>
#include <array>
#include <utility>

#include "train/ops/fused.h"
#include "train/ops/views.h"
#include "train_kernels/attention.h"

namespace msa::train::fused {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using train_kernels::AttentionInputs;

// The tensors of one call, in the order q, k, v, prefix_k, prefix_v, chunk_k, chunk_v; the last
// four may be undefined.
constexpr size_t kSlots = 7;
using Slots = std::array<Tensor, kSlots>;

// What the backward pass needs to know beside tensors.
struct Kept : torch::CustomClassHolder {
  SegmentLayout layout;
  std::array<bool, kSlots> defined;

  Kept(SegmentLayout of, const std::array<bool, kSlots>& which)
      : layout(std::move(of)), defined(which) {}

  // `given`: those that are defined, in order.
  template <class List>
  Slots slots(const List& given) const {
    Slots slots;
    size_t next = 0;
    for (size_t i = 0; i < kSlots; ++i)
      if (defined[i]) slots[i] = given[next++];
    return slots;
  }

  AttentionInputs inputs(const Slots& slots) const {
    return {rows_of(slots[0]),
            rows_of(slots[1]),
            rows_of(slots[2]),
            rows_of(slots[3]),
            rows_of(slots[4]),
            rows_of(slots[5]),
            rows_of(slots[6]),
            static_cast<size_t>(slots[0].size(1)),
            static_cast<size_t>(slots[1].size(1)),
            static_cast<size_t>(slots[0].size(2)),
            layout.starts,
            layout.sees_prefix,
            layout.chunk_starts,
            layout.chunks};
  }
};

// Ascending from at least 0 to at most `end`, one more than there are segments.
void check_starts(const std::vector<int32_t>& starts, size_t segments, int64_t end,
                  const char* name) {
  TORCH_CHECK(starts.size() == segments + 1, "segment_attention: ", starts.size(), " ", name,
              " for ", segments, " segments, not one more");
  TORCH_CHECK(
      std::is_sorted(starts.begin(), starts.end()) && starts.front() >= 0 && starts.back() <= end,
      "segment_attention: ", name, " run from ", starts.front(), " to ", starts.back(),
      ", not ascending within ", end);
}

void check(const Slots& slots, const SegmentLayout& layout) {
  static constexpr const char* kNames[] = {"q",        "k",       "v",      "prefix_k",
                                           "prefix_v", "chunk_k", "chunk_v"};
  const Tensor &q = slots[0], &k = slots[1];
  for (size_t i = 0; i < kSlots; ++i) {
    const Tensor& t = slots[i];
    if (!t.defined()) continue;
    TORCH_CHECK(t.dim() == 3 && t.size(2) == q.size(2) && t.scalar_type() == q.scalar_type() &&
                    t.device().is_cpu(),
                "segment_attention: ", kNames[i], " is ", t.sizes(), " ", t.scalar_type(),
                ", which does not fit q of ", q.sizes(), " ", q.scalar_type());
    TORCH_CHECK(i == 0 || t.size(1) == k.size(1), "segment_attention: ", kNames[i], " has ",
                t.size(1), " heads, k has ", k.size(1));
    TORCH_CHECK(i == 0 || i % 2 == 1 || t.sizes() == slots[i - 1].sizes(),
                "segment_attention: ", kNames[i], " is ", t.sizes(), ", its keys are ",
                slots[i - 1].sizes());
  }
  TORCH_CHECK(slots[3].defined() == slots[4].defined() && slots[5].defined() == slots[6].defined(),
              "segment_attention: keys without values or values without keys");
  TORCH_CHECK(k.size(0) == q.size(0), "segment_attention: ", k.size(0), " keys for ", q.size(0),
              " queries");
  TORCH_CHECK(q.size(2) > 0 && k.size(1) > 0 && q.size(1) % k.size(1) == 0,
              "segment_attention: ", q.size(1), " query heads for ", k.size(1), " key heads");
  const size_t segments = layout.sees_prefix.size();
  check_starts(layout.starts, segments, q.size(0), "starts");
  check_starts(layout.chunk_starts, segments, static_cast<int64_t>(layout.chunks.size()),
               "chunk starts");
  const int64_t chunks = slots[5].defined() ? slots[5].size(0) : 0;
  for (const int32_t chunk : layout.chunks)
    TORCH_CHECK(chunk >= 0 && chunk < chunks, "segment_attention: a segment sees chunk ", chunk,
                " of ", chunks);
}

class Attention : public torch::autograd::Function<Attention> {
 public:
  static Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Kept>& kept,
                        at::TensorList given) {
    const Slots slots = kept->slots(given);
    const Tensor& q = slots[0];
    Tensor out = torch::empty(q.sizes(), q.options());
    Tensor log_sums = torch::empty({q.size(0), q.size(1)}, torch::kFloat32);
    train_kernels::segment_attention(at::get_num_threads(), kept->inputs(slots), rows_of(out),
                                     rows_of(log_sums).as<float>());
    variable_list saved = given.vec();
    saved.push_back(log_sums);
    context->save_for_backward(saved);
    context->saved_data["kept"] = c10::IValue::make_capsule(kept);
    context->set_materialize_grads(false);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    const auto kept =
        c10::static_intrusive_pointer_cast<Kept>(context->saved_data["kept"].toCapsule());
    const variable_list saved = context->get_saved_variables();
    const Slots slots = kept->slots(saved);
    variable_list result(saved.size());  // `kept` comes first, log_sums are no input
    if (!grad_outputs[0].defined()) return result;
    std::array<AnyMat, kSlots> views;
    size_t input = 0;
    for (size_t i = 0; i < kSlots; ++i) {
      if (!slots[i].defined()) continue;
      if (context->needs_input_grad(input)) {
        result[input + 1] = torch::empty(slots[i].sizes(), slots[i].options());
        views[i] = rows_of(result[input + 1]);
      }
      ++input;
    }
    const Tensor grad_out = with_whole_rows(grad_outputs[0].to(slots[0].scalar_type()));
    const Tensor& log_sums = saved.back();
    train_kernels::segment_attention_backward(
        at::get_num_threads(), kept->inputs(slots), rows_of(grad_out),
        rows_of(log_sums).as<float>(),
        {views[0], views[1], views[2], views[3], views[4], views[5], views[6]});
    return result;
  }
};

}  // namespace

Tensor segment_attention(const Tensor& q, const Tensor& k, const Tensor& v, const SegmentKv& extra,
                         const SegmentLayout& layout) {
  Slots slots = {q, k, v, extra.prefix_k, extra.prefix_v, extra.chunk_k, extra.chunk_v};
  check(slots, layout);
  variable_list given;
  std::array<bool, kSlots> defined{};
  for (size_t i = 0; i < kSlots; ++i) {
    defined[i] = slots[i].defined();
    if (defined[i]) given.push_back(with_whole_rows(slots[i]));
  }
  return Attention::apply(c10::make_intrusive<Kept>(layout, defined), at::TensorList(given));
}

}  // namespace msa::train::fused
