// Loads and stores of f32 and bf16 as vectors of float, for the sources that Highway compiles once
// per instruction set. Include after hwy/foreach_target.h.

// The guard toggles, so that the file is read again for every instruction set.
#if defined(MSA_TRAIN_KERNELS_VECTOR_IO_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MSA_TRAIN_KERNELS_VECTOR_IO_INL_H_
#undef MSA_TRAIN_KERNELS_VECTOR_IO_INL_H_
#else
#define MSA_TRAIN_KERNELS_VECTOR_IO_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/mat_view.h"

HWY_BEFORE_NAMESPACE();
namespace msa::train_kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that a multiple of 16 elements is a number of whole vectors everywhere.
using D16 = hn::CappedTag<float, 16>;
using V16 = hn::Vec<D16>;

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* HWY_RESTRICT p) {
  return hn::LoadU(d, p);
}

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const bf16* HWY_RESTRICT p) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto upper = hn::PromoteTo(d32, hn::LoadU(d16, &p->bits));
  return hn::BitCast(d, hn::ShiftLeft<16>(upper));
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> v, float* HWY_RESTRICT p) {
  hn::StoreU(v, d, p);
}

// Rounds to nearest even and keeps NaN, as bf16::from_float.
template <class D>
HWY_INLINE void store(D d, hn::Vec<D> v, bf16* HWY_RESTRICT p) {
  const hn::RebindToUnsigned<D> d32;
  const hn::RebindToSigned<D> di32;
  const hn::Rebind<uint16_t, D> d16;
  const auto u = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(d32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(hn::Set(d32, 0x7fff), odd)));
  const auto quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(d32, 0x40));
  const auto nan = hn::MaskFromVec(hn::BitCast(d32, hn::VecFromMask(d, hn::IsNaN(v))));
  const auto upper = hn::IfThenElse(nan, quiet, rounded);
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di32, upper)), d16, &p->bits);
}

// The first n < Lanes(d) elements, zeros after them; nothing beyond is touched.
template <class D, class T>
HWY_INLINE hn::Vec<D> load_first(D d, const T* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN T part[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(part, p, n * sizeof(T));
  return load(d, part);
}
template <class D, class T>
HWY_INLINE void store_first(D d, hn::Vec<D> v, T* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN T part[HWY_MAX_BYTES / sizeof(float)];
  store(d, v, part);
  std::memcpy(p, part, n * sizeof(T));
}

// Calls body(load, store) for every vector of [0, n): whole ones, then the rest, for which load and
// store touch only what is there and load gives zeros beyond it. load(p) gives p[i ..], store(v, p)
// writes there.
template <class D, class Body>
HWY_INLINE void for_each_vector(D d, size_t n, const Body& body) {
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    body([&](const auto* p) HWY_ATTR { return load(d, p + i); },
         [&](auto v, auto* p) HWY_ATTR { store(d, v, p + i); });
  if (const size_t rest = n - i; rest != 0)
    body([&](const auto* p) HWY_ATTR { return load_first(d, p + i, rest); },
         [&](auto v, auto* p) HWY_ATTR { store_first(d, v, p + i, rest); });
}

}  // namespace msa::train_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
