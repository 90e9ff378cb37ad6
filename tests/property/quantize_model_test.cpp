// The whole of quantize_model() on tiny models.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "awq/error.h"
#include "base/stop.h"
#include "file/sha256.h"
#include "model/language_model.h"
#include "quantize/staging.h"
#include "support/logits.h"
#include "support/tiny_quantize.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using test::TinyQuantize;

/// The error of a run; fails the test when there is none.
Error error_of(const QuantizeOptions& options) {
  try {
    quantize_model(options);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::kInternal, "no error"};
}

void expect_runs(const fs::path& folder) {
  const model::ModelFiles files = model::ModelFiles::open(folder);
  ASSERT_NE(files.codec(), nullptr);
  model::LanguageModel model(files);
  for (const float logit : test::all_logits(model, std::vector<std::int32_t>{1, 2, 3, 4, 5})) {
    ASSERT_TRUE(std::isfinite(logit));
  }
}

void expect_manifest(const TinyQuantize& tiny) {
  const auto files = tiny.published();
  const auto manifest = file::parse_json(files.at("awq_manifest.json"), "manifest").at("files");
  EXPECT_EQ(manifest.size() + 1, files.size());
  for (const auto& [name, row] : manifest.items()) {
    EXPECT_EQ(row.at("size_bytes"), files.at(name).size()) << name;
    EXPECT_EQ(row.at("sha256"), file::sha256_hex(files.at(name))) << name;
  }
}

class QuantizeModel : public testing::Test {
 protected:
  test::UnsyncedSystem unsynced_;
  file::ScopedSystem scope_{unsynced_};
};

TEST_F(QuantizeModel, EveryFamilyFormatAndMethodOpensAndRuns) {
  for (const char* family : {"llama", "mistral", "qwen2", "qwen3"}) {
    for (const char* format : {"awq", "compressed-tensors"}) {
      for (const char* method : {"awq", "gptq", "rtn"}) {
        for (const bool symmetric : {false, true}) {
          SCOPED_TRACE(std::string(family) + " " + format + " " + method + (symmetric ? " symmetric" : ""));
          const TinyQuantize tiny(family);
          QuantizeOptions options = tiny.options();
          options.format = format;
          options.method = method;
          options.symmetric = symmetric;
          const QuantizeSummary summary = quantize_model(options);
          EXPECT_TRUE(summary.evaluated);
          EXPECT_TRUE(std::isfinite(summary.kl_mean) && summary.kl_mean >= 0);
          EXPECT_FALSE(fs::exists(tiny.staging()));
          expect_runs(tiny.output());
          expect_manifest(tiny);
        }
      }
    }
  }
}

TEST_F(QuantizeModel, MoreBitsLoseLess) {
  double last = 1e9;
  for (const int bits : {2, 3, 4, 8}) {
    const TinyQuantize tiny;
    QuantizeOptions options = tiny.options();
    options.format = "compressed-tensors";
    options.bits = bits;
    const double kl = quantize_model(options).kl_mean;
    EXPECT_LT(kl, last) << bits;
    last = kl;
  }
}

TEST_F(QuantizeModel, TwoRunsGiveTheSameBytes) {
  for (const char* family : {"llama", "mistral"}) {
    const TinyQuantize a(family);
    const TinyQuantize b(family);
    for (const TinyQuantize* tiny : {&a, &b}) {
      QuantizeOptions options = tiny->options();
      options.threads = 2;
      quantize_model(options);
    }
    // The two inputs have their own times, which nothing in the output may depend on.
    EXPECT_EQ(test::difference(a.published(), b.published()), "");
  }
}

TEST_F(QuantizeModel, NoLinearIsWorseThanRounding) {
  for (const char* family : {"llama", "qwen3"}) {
    for (const char* how : {"best", "fast", "gptq"}) {
      for (const int bits : {2, 3, 4}) {
        SCOPED_TRACE(std::string(family) + " " + how + " " + std::to_string(bits));
        const TinyQuantize tiny(family);
        QuantizeOptions options = tiny.options();
        options.bits = bits;
        options.format = "compressed-tensors";
        options.evaluate = false;
        if (how == std::string("gptq")) {
          options.method = how;
        } else {
          options.recipe = how;
        }
        quantize_model(options);
        const file::Json report = file::read_json_file(tiny.output() / "awq_report.json");
        std::size_t linears = 0;
        for (const file::Json& layer : report.at("layers")) {
          for (const file::Json& linear : layer.at("linears")) {
            ++linears;
            EXPECT_GT(linear.at("error_before"), 0.0);
            EXPECT_LE(linear.at("error_after"), linear.at("error_before")) << linear.at("name");
          }
        }
        EXPECT_GT(linears, 0U);
      }
    }
  }
}

TEST_F(QuantizeModel, RecipesAreForAwqAlone) {
  const TinyQuantize tiny;
  QuantizeOptions options = tiny.options();
  options.recipe = "paper";
  quantize_model(options);
  options.force = true;
  options.method = "gptq";
  EXPECT_EQ(error_of(options).code(), ErrorCode::kInvalidArgument);
  options.method = "awq";
  options.recipe = "bestest";
  EXPECT_EQ(error_of(options).code(), ErrorCode::kInvalidArgument);
}

TEST_F(QuantizeModel, ShardedOutputIsTheSameModel) {
  const TinyQuantize whole;
  const TinyQuantize parts;
  QuantizeOptions options = parts.options();
  options.max_shard_bytes = 10000;
  quantize_model(whole.options());
  quantize_model(options);
  EXPECT_GT(parts.published().size(), whole.published().size() + 2);
  model::LanguageModel a(model::ModelFiles::open(whole.output()));
  model::LanguageModel b(model::ModelFiles::open(parts.output()));
  const std::vector<std::int32_t> ids = {1, 2, 3};
  EXPECT_EQ(test::all_logits(a, ids), test::all_logits(b, ids));
}

TEST_F(QuantizeModel, DryRunWritesNothing) {
  const TinyQuantize tiny;
  QuantizeOptions options = tiny.options();
  options.dry_run = true;
  int lines = 0;
  options.on_plan = [&](const std::string&) { ++lines; };
  EXPECT_TRUE(quantize_model(options).dry_run);
  EXPECT_GT(lines, 3);
  EXPECT_FALSE(fs::exists(tiny.output()) || fs::exists(tiny.staging()));
}

TEST_F(QuantizeModel, TheDiskPlanHoldsEveryFile) {
  const TinyQuantize tiny;
  test::write_bytes(tiny / "model/LICENSE", std::string(300000, 'l'));
  test::write_bytes(tiny / "model/README.md", std::string(200000, 'r'));
  const QuantizeSummary summary = quantize_model(tiny.options());
  std::uint64_t total = 0;
  for (const auto& [name, bytes] : tiny.published()) total += bytes.size();
  EXPECT_GT(total, 500000U);
  EXPECT_LE(total, summary.planned_disk_bytes);
}

TEST_F(QuantizeModel, AnOutputIsReplacedOnlyByForce) {
  const TinyQuantize tiny;
  QuantizeOptions options = tiny.options();
  fs::create_directory(tiny.output());  // an empty folder is in nobody's way
  quantize_model(options);
  const auto first = tiny.published();
  options.symmetric = true;
  EXPECT_EQ(error_of(options).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(test::difference(tiny.published(), first), "");
  options.force = true;
  quantize_model(options);
  EXPECT_NE(test::difference(tiny.published(), first), "");
  // A manifest that was lost or damaged does not make the folder a stranger.
  test::write_bytes(tiny.output() / "awq_manifest.json", "{\"files\":");
  quantize_model(options);
  expect_manifest(tiny);
}

// --resume finds the output whole, but another run has begun to replace it and has no journal yet.
TEST_F(QuantizeModel, TheFolderOfARunAtWorkIsNoLeftover) {
  const TinyQuantize tiny;
  QuantizeOptions options = tiny.options();
  quantize_model(options);
  const auto whole = tiny.published();
  options.resume = true;
  {
    quantize::Staging replacing(tiny.output(), true);
    replacing.clear();
    EXPECT_EQ(error_of(options).code(), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(fs::exists(replacing.model()));
  }
  EXPECT_TRUE(quantize_model(options).already_complete);
  EXPECT_FALSE(fs::exists(tiny.staging()));
  EXPECT_EQ(test::difference(tiny.published(), whole), "");
}

TEST_F(QuantizeModel, ForceNeverReplacesWhatAwqDidNotMake) {
  const TinyQuantize tiny;
  QuantizeOptions options = tiny.options();
  options.force = true;
  const auto refused = [&](const std::string& words) {
    const Error error = error_of(options);
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    EXPECT_FALSE(fs::exists(tiny.staging()));
  };
  fs::create_directory(tiny.output());
  test::write_bytes(tiny.output() / "thesis.txt", "precious");
  refused("awq_manifest.json");
  // Files that only look like ours.
  for (const char* manifest : {"", "{}", "[]", R"({"files":{}})", R"({"files":{"config.json":1}})", "\xff"}) {
    SCOPED_TRACE(manifest);
    test::write_bytes(tiny.output() / "awq_manifest.json", manifest);
    test::write_bytes(tiny.output() / "awq_report.json", manifest);
    test::write_bytes(tiny.output() / "config.json", "{\"architectures\":[\"LlamaForCausalLM\"]}");
    refused("awq_manifest.json");
    EXPECT_EQ(test::read_bytes(tiny.output() / "thesis.txt"), "precious");
  }
  // An output that became a home for other things: a repository, a cache.
  fs::remove_all(tiny.output());
  quantize_model(options);
  fs::create_directory(tiny.output() / ".git");
  refused("the folder .git");
  EXPECT_TRUE(fs::exists(tiny.output() / ".git"));
}

TEST_F(QuantizeModel, ModelAndOutputMustBeApart) {
  const TinyQuantize tiny;
  for (const fs::path& output : {tiny / "model", tiny / "model/inside", tiny / "model/../model"}) {
    QuantizeOptions options = tiny.options();
    options.output = output;
    options.force = true;
    EXPECT_EQ(error_of(options).code(), ErrorCode::kInvalidArgument) << output;
  }
}

TEST_F(QuantizeModel, AQuantizedModelIsRefused) {
  const TinyQuantize tiny;
  quantize_model(tiny.options());
  QuantizeOptions again = tiny.options();
  again.model = tiny.output();
  again.output = tiny / "twice";
  EXPECT_EQ(error_of(again).code(), ErrorCode::kUnsupported);
}

class Interrupted : public QuantizeModel {
 protected:
  ~Interrupted() override { stop_flag().request(0); }

  /// Stops a run when `layers` layers are finished.
  void stop_after(std::int64_t layers) {
    QuantizeOptions options = tiny_.options();
    options.on_progress = [&](const Progress& progress) {
      if (progress.stage == "quantize" && progress.done == layers) request_stop();
    };
    const Error error = error_of(options);
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
    EXPECT_EQ(error.signal(), 15);
    EXPECT_FALSE(fs::exists(tiny_.output()));
    stop_flag().request(0);
  }
  static void request_stop() { stop_flag().request(15); }

  TinyQuantize tiny_;
};

TEST_F(Interrupted, ResumedRunGivesTheSameBytes) {
  const TinyQuantize reference;
  quantize_model(reference.options());
  for (const std::int64_t layers : {0, 1, 2}) {
    SCOPED_TRACE(layers);
    stop_after(layers);
    QuantizeOptions resume = tiny_.options();
    resume.resume = true;
    quantize_model(resume);
    EXPECT_EQ(test::difference(tiny_.published(), reference.published()), "");
    EXPECT_TRUE(quantize_model(resume).already_complete);
    fs::remove_all(tiny_.output());
  }
}

TEST_F(Interrupted, OtherSettingsAreNamed) {
  stop_after(1);
  QuantizeOptions other = tiny_.options();
  other.resume = true;
  other.symmetric = true;
  const Error error = error_of(other);
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(std::string(error.what()).find("symmetric"), std::string::npos) << error.what();
  // Neither --resume nor --force: the work that is there is not thrown away silently.
  EXPECT_EQ(error_of(tiny_.options()).code(), ErrorCode::kInvalidArgument);
  QuantizeOptions force = tiny_.options();
  force.force = true;
  quantize_model(force);
  expect_manifest(tiny_);
}

TEST_F(Interrupted, ChangedInputsAreFound) {
  stop_after(1);
  // Another text, and then other weights of the same size.
  QuantizeOptions resume = tiny_.options();
  resume.resume = true;
  std::string text = test::read_bytes(tiny_ / "text.txt");
  std::swap(text[3], text[5]);
  text.insert(0, "zz ");
  test::write_bytes(tiny_ / "other.txt", text);
  resume.calibration = tiny_ / "other.txt";
  EXPECT_NE(std::string(error_of(resume).what()).find("calibration"), std::string::npos);
  const fs::path weights = tiny_ / "model/model.safetensors";
  std::string bytes = test::read_bytes(weights);
  fs::remove(weights);  // a link to the committed file
  bytes[bytes.size() - 2] = static_cast<char>(bytes[bytes.size() - 2] ^ 1);
  test::write_bytes(weights, bytes);
  resume.calibration = tiny_.options().calibration;
  EXPECT_NE(std::string(error_of(resume).what()).find("model"), std::string::npos);
}

TEST_F(Interrupted, DamagedWorkIsNotUsed) {
  stop_after(1);
  QuantizeOptions resume = tiny_.options();
  resume.resume = true;
  std::string hidden = test::read_bytes(tiny_.staging() / "hidden.0");
  ASSERT_FALSE(hidden.empty());
  hidden[7] = static_cast<char>(hidden[7] ^ 4);
  test::write_bytes(tiny_.staging() / "hidden.0", hidden);
  EXPECT_EQ(error_of(resume).code(), ErrorCode::kCorruptFile);
  EXPECT_FALSE(fs::exists(tiny_.output()));
}

}  // namespace
}  // namespace awq
