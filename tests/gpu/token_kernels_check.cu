#include <cstring>
#include <limits>

#include "kernels/ref/draw_ref.h"
#include "token_attention_check.cuh"
#include "token_check_support.cuh"
#include "token_rope_check.cuh"
#include "token_timing.cuh"

/// Checks the kernels of kernels/api/cuda_token.h on a device against binary64, and with --time measures them.
/// Tolerances: docs/numerics.md, "On NVIDIA devices". Exit status 1 when a check failed.
namespace check {
namespace {

namespace cuda = awq::kernels::cuda;

/// A result of a few binary32 operations, rounded to a half: 2^-20 covers 16 of their roundings.
double allowed_half(Half type, double expected, double operations = 0x1p-20) {
  return (rounding(type) + operations) * std::fabs(expected) + smallest(type);
}

void check_embed(Half type, int width) {
  Random random(width);
  const int vocab = 300;
  const int tokens = 37;
  const auto table = random_halves(type, static_cast<std::size_t>(vocab) * width, random);
  std::vector<std::int32_t> ids(tokens);
  for (auto& id : ids) id = random.below(vocab);
  const DeviceArray<std::uint16_t> device_table(table);
  const DeviceArray<std::int32_t> device_ids(ids);
  const DeviceArray<float> hidden(static_cast<std::size_t>(tokens) * width);
  require(cuda::embed(type, device_table.data(), device_ids.data(), tokens, width, hidden.data(), nullptr), "embed");
  const auto got = hidden.download();
  bool good = true;
  for (int t = 0; t < tokens; ++t) {
    for (int i = 0; i < width; ++i) {
      good &= got[static_cast<std::size_t>(t) * width + i] ==
              from_half(type, table[static_cast<std::size_t>(ids[t]) * width + i]);
    }
  }
  report(std::string("embed ") + name(type) + " width " + std::to_string(width), good);
}

void check_gather(int words) {
  Random random(words);
  const int stored = 23;
  const int count = 9;
  const auto size = static_cast<std::size_t>(words);
  const auto from = random_floats(stored * size, random, 1, 0);
  std::vector<std::int32_t> rows(count);
  for (auto& row : rows) row = random.below(stored);
  const DeviceArray<float> device_from(from);
  const DeviceArray<std::int32_t> device_rows(rows);
  const DeviceArray<float> to(count * size);
  require(cuda::gather_rows(to.data(), device_from.data(), device_rows.data(), count, words * 4, nullptr), "gather");
  const auto got = to.download();
  bool good = true;
  for (int t = 0; t < count; ++t) {
    good &= std::memcmp(got.data() + t * size, from.data() + static_cast<std::size_t>(rows[t]) * size, size * 4) == 0;
  }
  report("gather rows of " + std::to_string(words), good);
}

void check_norm(Half type, int width, bool add, bool gather) {
  Random random(width + add);
  const int stored = 19;
  const int tokens = gather ? 7 : stored;
  const float eps = 1e-5F;
  const auto size = static_cast<std::size_t>(width);
  const auto x = random_floats(stored * size, random, 0.1F, 3);
  const auto weight = random_floats(size, random, 1, 0.2F);
  const auto branch = random_halves(type, stored * size, random);
  std::vector<std::int32_t> rows(tokens);
  for (auto& row : rows) row = random.below(stored);
  const DeviceArray<float> device_x(x);
  const DeviceArray<float> device_weight(weight);
  const DeviceArray<std::uint16_t> device_branch(branch);
  const DeviceArray<std::int32_t> device_rows(rows);
  const DeviceArray<std::uint16_t> y(tokens * size);
  if (add) {
    require(cuda::add_rms_norm(type, device_x.data(), device_branch.data(), device_weight.data(), eps, tokens, width,
                               y.data(), nullptr),
            "add_rms_norm");
  } else {
    require(cuda::rms_norm(type, device_x.data(), gather ? device_rows.data() : nullptr, device_weight.data(), eps,
                           tokens, width, y.data(), nullptr),
            "rms_norm");
  }
  const auto got = y.download();
  const auto hidden = device_x.download();
  Errors errors;
  bool same_hidden = true;
  for (int t = 0; t < tokens; ++t) {
    const std::size_t from = (gather ? rows[t] : t) * size;
    std::vector<float> row(x.begin() + static_cast<std::ptrdiff_t>(from),
                           x.begin() + static_cast<std::ptrdiff_t>(from + size));
    for (std::size_t i = 0; add && i < size; ++i) row[i] += from_half(type, branch[from + i]);
    double sum = 0;
    for (const float v : row) sum += static_cast<double>(v) * v;
    const double factor = 1 / std::sqrt(sum / width + eps);
    for (std::size_t i = 0; i < size; ++i) {
      const double expected = row[i] * factor * weight[i];
      errors.add(from_half(type, got[t * size + i]), expected, allowed_half(type, expected));
      same_hidden &= hidden[from + i] == row[i];
    }
  }
  const std::string label = std::string(add ? "add_rms_norm " : "rms_norm ") + name(type) + " width " +
                            std::to_string(width) + (gather ? " gathered" : "");
  errors.report(label);
  if (add) report(label + " hidden", same_hidden);

  // A row alone has the same bits.
  const DeviceArray<std::uint16_t> alone(size);
  require(cuda::rms_norm(type, device_x.data() + (gather ? rows[tokens - 1] : tokens - 1) * size, nullptr,
                         device_weight.data(), eps, 1, width, alone.data(), nullptr),
          "rms_norm");
  const auto got_alone = alone.download();
  report(label + " alone", std::equal(got_alone.begin(), got_alone.end(),
                                      got.begin() + static_cast<std::ptrdiff_t>((tokens - 1) * size)));
}

void check_add_alone(Half type, int width) {
  Random random(width);
  const std::size_t size = 5 * static_cast<std::size_t>(width);
  const auto x = random_floats(size, random);
  const auto branch = random_halves(type, size, random);
  const DeviceArray<float> hidden(x);
  const DeviceArray<std::uint16_t> device_branch(branch);
  require(cuda::add_rms_norm(type, hidden.data(), device_branch.data(), nullptr, 0, 5, width, nullptr, nullptr), "add");
  const auto got = hidden.download();
  bool good = true;
  for (std::size_t i = 0; i < size; ++i) good &= got[i] == x[i] + from_half(type, branch[i]);
  report(std::string("add_rms_norm without a norm ") + name(type) + " width " + std::to_string(width), good);
}

void check_silu(Half type, int inner) {
  Random random(inner);
  const int tokens = 5;
  const auto gate_up = random_halves(type, static_cast<std::size_t>(tokens) * 2 * inner, random, 6);
  const DeviceArray<std::uint16_t> from(gate_up);
  const DeviceArray<std::uint16_t> y(static_cast<std::size_t>(tokens) * inner);
  require(cuda::silu_multiply(type, from.data(), tokens, inner, y.data(), nullptr), "silu_multiply");
  const auto got = y.download();
  Errors errors;
  for (int t = 0; t < tokens; ++t) {
    for (int i = 0; i < inner; ++i) {
      const std::size_t at = static_cast<std::size_t>(t) * 2 * inner + i;
      const double gate = from_half(type, gate_up[at]);
      const double expected = gate / (1 + std::exp(-gate)) * from_half(type, gate_up[at + inner]);
      // exp() is off by an ulp per unit of its argument; gates reach 21.
      errors.add(from_half(type, got[static_cast<std::size_t>(t) * inner + i]), expected,
                 allowed_half(type, expected, 0x1p-18));
    }
  }
  errors.report(std::string("silu_multiply ") + name(type) + " inner " + std::to_string(inner));
}

void check_argmax(int rows, int vocab) {
  Random random(vocab + rows);
  auto logits = random_floats(static_cast<std::size_t>(rows) * vocab, random);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int r = 0; r < rows; ++r) {
    float* row = logits.data() + static_cast<std::size_t>(r) * vocab;
    if (r % 4 == 1) row[random.below(vocab)] = row[random.below(vocab)] = row[random.below(vocab)] = 50;
    if (r % 4 == 2) row[0] = row[random.below(vocab)] = kNan;
    if (r % 4 == 3) std::fill(row, row + vocab, r % 8 == 3 ? -kInfinity : kNan);
  }
  const DeviceArray<float> device(logits);
  const DeviceArray<std::int32_t> ids(rows);
  require(cuda::argmax(device.data(), rows, vocab, ids.data(), nullptr), "argmax");
  const auto got = ids.download();
  bool good = true;
  for (int r = 0; r < rows; ++r) {
    const float* row = logits.data() + static_cast<std::size_t>(r) * vocab;
    int best = -1;
    for (int i = 0; i < vocab; ++i) {
      if (!std::isnan(row[i]) && (best < 0 || row[i] > row[best])) best = i;
    }
    good &= got[r] == best;
  }
  report("argmax of " + std::to_string(rows) + " x " + std::to_string(vocab), good);
}

/// The device draws what the definition says, id for id.
void check_draw(int rows, int vocab) {
  Random random(vocab + 3 * rows);
  auto logits = random_floats(static_cast<std::size_t>(rows) * vocab, random, 0, 3);
  std::vector<awq::kernels::DrawRule> rules(rows);
  std::vector<std::int32_t> from(rows);
  for (int r = 0; r < rows; ++r) {
    float* row = logits.data() + static_cast<std::size_t>(r) * vocab;
    if (r % 5 == 1) std::transform(row, row + vocab, row, [](float v) { return std::floor(v); });  // many equal ones
    if (r % 11 == 7) row[random.below(vocab)] = std::numeric_limits<float>::infinity();
    from[r] = rows - 1 - r;
    awq::kernels::DrawRule& rule = rules[r];
    if (r % 7 != 0) rule.factor = static_cast<float>(1 / (0.1 + 2 * random.uniform()));
    if (r % 2 == 0) rule.top_k = 1 + random.below(vocab);
    if (r % 3 == 0) rule.top_p = random.uniform();
    if (r % 4 == 0) rule.smallest = std::max(rule.smallest, static_cast<float>(random.uniform() * 0.1));
    rule.bits = random.bits();
  }
  const DeviceArray<float> device(logits);
  const DeviceArray<awq::kernels::DrawRule> device_rules(rules);
  const DeviceArray<std::int32_t> device_from(from);
  const DeviceArray<std::int32_t> ids(rows);
  for (const bool gather : {false, true}) {
    require(cuda::draw(device.data(), gather ? device_from.data() : nullptr, device_rules.data(), rows, vocab,
                       ids.data(), nullptr),
            "draw");
    const auto got = ids.download();
    int different = 0;
    for (int r = 0; r < rows; ++r) {
      const float* row = logits.data() + static_cast<std::size_t>(gather ? from[r] : r) * vocab;
      different += got[r] != awq::kernels::ref::draw({row, static_cast<std::size_t>(vocab)}, rules[r]);
    }
    report("draw from " + std::to_string(rows) + " x " + std::to_string(vocab) + (gather ? " gathered" : ""),
           different == 0);
  }
}

void check_all() {
  for (const Half type : {Half::kBf16, Half::kF16}) {
    for (const int width : {64, 70, 4096}) check_embed(type, width);
    for (const int width : {8, 64, 70, 2048, 4096, 5120, 8192, 14336, 20000}) {
      check_norm(type, width, false, false);
      check_norm(type, width, false, true);
      check_norm(type, width, true, false);
    }
    check_add_alone(type, 70);
    check_add_alone(type, 4096);
    for (const int inner : {40, 77, 14336}) check_silu(type, inner);
    check_rope(type);
  }
  for (const int words : {1, 70, 4096}) check_gather(words);
  for (const int vocab : {1, 1001, 32000, 128256}) {
    check_argmax(1, vocab);
    check_argmax(17, vocab);
  }
  check_argmax(64, 128256);
  for (const int vocab : {1, 5, 1001, 32000, 128256}) check_draw(40, vocab);
  check_attention();
}

}  // namespace
}  // namespace check

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "--time") == 0) {
    check::time_all();
    return 0;
  }
  check::check_all();
  std::printf("%s: %d failed\n", check::failures == 0 ? "PASSED" : "FAILED", check::failures);
  return check::failures == 0 ? 0 : 1;
}
