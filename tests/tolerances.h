#pragma once

namespace awq::tolerance {

/// Every number by which a computed value may differ from its reference, with the reason in one line; the arguments are
/// in docs/numerics.md. `u` is 2^-24, half the distance between binary32 neighbours of 1.

/// Logits of the committed golden models against float64: transformers' own float32 run is up to 4e-5 away from it
/// (float32_max_abs_diff), and another order of sums may be as far away on the other side.
inline constexpr double kGoldenLogits = 1e-4;

/// Logits of the real models against float64, which are stored with six decimals: what the data set promises of a
/// correct float32 engine.
inline constexpr double kRealLogits = 1e-4;

/// Mean NLL against float64: errors of single logits have either sign and average out over thousands of tokens; the
/// golden values are printed with six decimals.
inline constexpr double kMeanNll = 2e-6;
/// The same where the golden value itself was computed in float32.
inline constexpr double kMeanNllFloat32 = 2e-5;

/// Log probability of a continuation against another binary32 engine, relative to one more than its size: errors of
/// its tokens' logits (kRealLogits each, of either sign) add up more slowly than the tokens' nats, of which there are
/// several per token; printed with four decimals.
inline constexpr double kLogProbability = 1e-4;

/// Parts of squared sums over hidden states against the same computed another way: binary32 states, binary64 sums.
inline constexpr double kLayerError = 1e-4;

/// The same tokens through the same weights in other batches: only the order of sums differs, and with it at most what
/// the distance of two float32 engines is.
inline constexpr double kBatchLogits = 1e-4;

/// A sum of K products in binary32, any order, relative to the sum of their magnitudes: K * u is a bound, and errors of
/// random sign grow as sqrt(K); 8 * sqrt(K) * u + 4 * u leaves eight standard deviations.
inline constexpr double kDotSigmas = 8;
inline constexpr double kDotFloor = 4;

/// A weight rounded to bf16.
inline constexpr double kBf16Weight = 0x1p-9;

/// One product of two bf16-rounded factors is off by 2 * 2^-9 of its magnitude at most; sums average that.
inline constexpr double kBf16Product = 0x1p-8;

/// cos, sin, exp and sqrt in binary32 are within 2 u, and a few of them are multiplied.
inline constexpr double kElementwise = 8 * 0x1p-24;

/// Softmax attention against float64, of values of magnitude 1: a score of 16 is off by 16 * 4 u, which exp() turns
/// into a relative error of the weights.
inline constexpr double kAttention = 2e-5;
/// The same from keys and values of 16 or 8 bits: each value of size 1 is off by half a step of its type (2^-12 for
/// F16, 2^-9 for BF16, 2^-8 with one scale per row, 2^-5 for E4M3), and scores of a sum of 24 such products by about
/// three steps more; what many values add averages out.
inline constexpr double kAttentionF16 = 0x1p-11;
inline constexpr double kAttentionBf16 = 0x1p-8;
/// Queries, keys, weights and values rounded to bf16, queries up to 2, keys and values up to 1, 80 channels: a score is
/// off by 0.007 (standard deviation), which is the logarithm of a weight; nine of those.
inline constexpr double kAttentionRounded = 0x1p-4;
inline constexpr double kAttentionInt8 = 0x1p-6;
inline constexpr double kAttentionE4M3 = 0x1p-4;

/// Hidden states after folding, relative to the largest: the fold divides and multiplies by the same number, two
/// relative errors of u per weight, which the layers after it carry on as they do any other rounding.
inline constexpr double kFoldedHidden = 1e-5;

/// Output error of a searched and folded layer with 8-bit weights, as a multiple of that of plain rounding: the search
/// makes each linear's error smaller, but their sum through softmax and products may grow a little by chance. A factor
/// that was folded on one side only would give an error of the output's own size, twenty-five times as much.
inline constexpr double kFoldedNoise = 1.5;

/// trace(D H D^T) in binary32 products with binary64 sums: relative to the sum of magnitudes.
inline constexpr double kTrace = 1e-5;
/// The same with H and D in bf16: about 2e-4 on correlated inputs; far from enough to reorder scale candidates.
inline constexpr double kTraceBf16 = 2e-3;

/// trace(D H D^T) as a part of itself, for the rounding errors of a real linear: the magnitudes that kTrace refers to
/// are up to 100 times the sum, because errors of correlated inputs cancel.
inline constexpr double kTraceOfItself = 1e-3;

/// Groups whose range may be clipped otherwise than AutoAWQ does, which sums in another order; all codes of the other
/// groups are the same.
inline constexpr double kOtherClippedGroups = 0.05;
/// Codes that may differ from a reference quantizer in another precision: a number halfway between two codes goes
/// either way, and with error feedback such a code moves what the channels behind it aim at.
inline constexpr double kOtherFeedbackCodes = 5e-3;
/// Loss of these codes: a flipped code was about as good as the other.
inline constexpr double kFeedbackLoss = 1e-3;

/// R R^T against the matrix that was factored, relative to sqrt(H_ii * H_jj): sums of K products in binary32, K <= 512.
inline constexpr double kCholesky = 2e-5;
/// Solutions of the damped system, relative to the largest: the condition number is at most K / damping.
inline constexpr double kCholeskySolve = 2e-3;

/// Sums in binary64 of a few thousand numbers below 1000.
inline constexpr double kDoubleSum = 1e-9;

/// A Gram matrix of T rows in binary32, relative to sqrt(H_ii * H_jj).
inline constexpr double kGram = 1e-5;
/// The same from bf16 inputs: two factors rounded to 8 bits.
inline constexpr double kGramBf16 = 0x1p-7;

/// |dequantize(quantize(w)) - w| <= scale / 2 holds in exact arithmetic; w / scale is rounded (u of up to 2^8 steps)
/// and scale * code again.
inline constexpr double kHalfStep = 0.5 + 0x1p-14;

/// Chi-square of 7 degrees of freedom: larger by chance once in 10^6 (the test's seed is fixed, so it never flickers).
inline constexpr double kChiSquare7 = 40.5;

/// op-goldens computed in bf16 round their results to 8 bits; half a unit of the last place, relative.
inline constexpr double kBf16Output = 0x1p-8;
/// op-goldens computed in float32: absolute and relative, as their manifests state.
inline constexpr double kOpGolden = 1e-5;
/// U4 kernels multiply codes and subtract zero_point * sum(x) at the end: what is rounded is up to 16 times larger than
/// the products of the definition, with a floor of 2 u each.
inline constexpr double kCodeProducts = 32 * 0x1p-24;

/// KL divergence that int8 activations with one scale per 32 inputs add, relative to that of rounding the weights to
/// 4 bits: the bars of the project for its two small models. Two planes are a hundred times finer, and KL grows with
/// the square.
inline constexpr double kInt8LossStories = 0.01;
inline constexpr double kInt8LossBooks = 0.02;
inline constexpr double kInt15Loss = 1e-4;

/// Logits on a device against the processor's in binary32, relative to the largest: activations and cached keys and
/// values are rounded to 16 bits at about eight places of a layer (half a step: 2^-9 of each for BF16, 2^-12 for F16).
/// The errors have either sign, so that twelve layers leave about ten of them; the bound is twice that and more.
inline constexpr double kDeviceLogitsBf16 = 0x1p-5;
inline constexpr double kDeviceLogitsF16 = 0x1p-7;

/// The same with keys and values in E4M3 on both: one in thirty is rounded to another neighbour, a step of an eighth,
/// because it was computed in 16 bits.
inline constexpr double kDeviceLogitsFp8 = 0x1p-3;

/// Quantizing on a device against the processor (docs/numerics.md, "Quantizing on a device"). Sums of products of the
/// same numbers in another order, relative to the largest.
inline constexpr double kDeviceSums = 1e-5;
/// Losses of the same codes: sums of thousands of products of either sign, and weights that a solution of least squares
/// moved.
inline constexpr double kDeviceLoss = 1e-4;
/// Losses of weights that each side moved and then rounded: a weight on the edge between two codes may go either way.
inline constexpr double kDeviceRounded = 1e-3;
/// Losses of results, where single codes differ, and codes that are equal on a site with equal inputs.
inline constexpr double kDeviceResult = 1e-2;
inline constexpr double kDeviceEqualCodes = 0.99;
/// Mean errors of layers behind others whose codes differ, of models with 64 to 1024 channels: another scale or zero
/// point here and there, with a loss of its own.
inline constexpr double kDeviceLayer = 5e-2;
/// Hidden states of the original model, which are rounded to bf16 between layers: a few go to the other neighbour.
inline constexpr double kDeviceHidden = 2e-3;

}  // namespace awq::tolerance
