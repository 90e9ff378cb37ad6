#pragma once

#include "kernels/api/attention.h"

namespace awq::kernels {
namespace {

/// exp_nonpositive() of kernels/api/attention.h on sixteen lanes (V: see attention_body.h).
template <typename V>
V exp_nonpositive_lanes(V x) {
  using namespace exp_constants;
  const V lowest = V::set(kLowest);
  const V inside = V::max(lowest, x);  // the second operand when one is NaN
  const V n = V::sub(V::fma(inside, V::set(kLog2E), V::set(kMagic)), V::set(kMagic));
  V r = V::fma(n, V::set(kMinusLn2High), inside);
  r = V::fma(n, V::set(kMinusLn2Low), r);
  V p = V::fma(V::set(kC5), r, V::set(kC4));
  p = V::fma(p, r, V::set(kC3));
  p = V::fma(p, r, V::set(kC2));
  p = V::fma(p, r, V::set(kC1));
  p = V::fma(p, r, V::set(kC0));
  p = V::add(V::fma(p, V::mul(r, r), r), V::set(1.0F));
  return V::zero_below(V::scale2(p, n), x, lowest);
}

}  // namespace
}  // namespace awq::kernels
