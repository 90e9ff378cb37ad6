// What a run says and does about its device, with one that computes what the processor does.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <span>
#include <string>
#include <vector>

#include "awq/error.h"
#include "base/stop.h"
#include "ops/gemm.h"
#include "quantize/host_layer_runner.h"
#include "quantize/host_site_search.h"
#include "quantize/quantize_run.h"
#include "support/errors.h"
#include "support/tiny_quantize.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using test::TinyQuantize;

/// The processor in the guise of a device.
class SecondProcessor final : public quantize::LayerDevice {
 public:
  explicit SecondProcessor(std::uint64_t free) : free_(free) { ++alive; }
  ~SecondProcessor() override { --alive; }
  inline static int alive = 0;
  void begin(const model::ModelFiles& files, const quantize::CalibrationBlocks& blocks, ops::Precision precision,
             std::span<quantize::HiddenStates> streams) override {
    files_ = &files;
    blocks_ = &blocks;
    precision_ = precision;
    streams_ = streams;
    own_.clear();
  }
  std::unique_ptr<quantize::LayerRunner> layer(std::int64_t index) override {
    if (own_.empty()) {
      for (const quantize::HiddenStates& stream : streams_) {
        copy(stream, own_.emplace_back(stream.tokens(), files_->config().hidden_size));
      }
    }
    return std::make_unique<quantize::HostLayerRunner>(*files_, index, *blocks_, precision_, own_);
  }
  quantize::LayerSites collect(std::int64_t, const model::LayerWeights&,
                               const std::array<bool, model::kRoles>&) override {
    return {};  // nothing was seen: the linears are rounded
  }
  void fetch_hidden() override {
    for (std::size_t i = 0; i < own_.size(); ++i) copy(own_[i], streams_[i]);
  }
  std::uint64_t free_bytes() const override { return free_; }
  std::uint64_t peak_bytes() const override { return 7; }

 private:
  static void copy(const quantize::HiddenStates& from, quantize::HiddenStates& to) {
    const std::span<const std::byte> bytes = from.bytes();
    std::copy(bytes.begin(), bytes.end(), to.bytes().begin());
  }

  std::uint64_t free_;
  std::vector<quantize::HiddenStates> own_;
  const model::ModelFiles* files_ = nullptr;
  const quantize::CalibrationBlocks* blocks_ = nullptr;
  ops::Precision precision_{};
  std::span<quantize::HiddenStates> streams_;
};

class Choice final : public quantize::DeviceChoice {
 public:
  const char* name() const override { return "cuda"; }
  std::uint64_t planned_bytes(const model::ModelFiles&, const quantize::OutputPlan&, std::int64_t blocks,
                              std::int64_t length, ops::Precision, const QuantizeOptions&) const override {
    return static_cast<std::uint64_t>(blocks * length);
  }
  std::unique_ptr<quantize::LayerDevice> open() const override {
    if (!present) throw Error(ErrorCode::kDevice, "no device");
    return std::make_unique<SecondProcessor>(free);
  }
  bool present = true;
  std::uint64_t free = 1 << 20;
};

class QuantizeDevice : public testing::Test {
 protected:
  ~QuantizeDevice() override { stop_flag().request(0); }

  QuantizeOptions options() const {
    ops::configure_threads(1);
    return tiny_.options();
  }
  /// Stops a run behind its first layer.
  void stop_behind_first(const quantize::DeviceChoice* choice) {
    QuantizeOptions interrupted = options();
    interrupted.on_progress = [](const Progress& progress) {
      if (progress.stage == "quantize" && progress.done == 1) stop_flag().request(15);
    };
    test::error_of(ErrorCode::kInterrupted, [&] { quantize::run(interrupted, choice); });
    stop_flag().request(0);
  }
  file::Json layers() const { return file::parse_json(tiny_.published().at("awq_report.json"), "report").at("layers"); }

  test::UnsyncedSystem unsynced_;
  file::ScopedSystem scope_{unsynced_};
  TinyQuantize tiny_;
  Choice choice_;
};

TEST_F(QuantizeDevice, TakesThePlaceOfTheProcessor) {
  const TinyQuantize reference;
  quantize::run(reference.options());
  const QuantizeSummary summary = quantize::run(options(), &choice_);
  EXPECT_EQ(summary.planned_device_bytes, 16U * 16U);
  EXPECT_EQ(summary.peak_device_bytes, 7U);
  EXPECT_EQ(tiny_.published().at("model.safetensors"), reference.published().at("model.safetensors"));
  for (const file::Json& layer : layers()) EXPECT_EQ(layer.value("device", ""), "cuda");
}

TEST_F(QuantizeDevice, MeasuresWhenItIsFree) {
  QuantizeOptions evaluated = options();
  evaluated.evaluate = true;
  int calls = 0;
  const quantize::Measure measure = [&](const model::ModelFiles& quantized, const model::ModelFiles& original,
                                        const eval::Windows& windows, const eval::CompareOptions& compare) {
    EXPECT_EQ(SecondProcessor::alive, 0);
    ++calls;
    return quantize::MeasuredScores{eval::compare(quantized, &original, windows, compare), "cuda"};
  };
  const QuantizeSummary summary = quantize::run(evaluated, &choice_, measure);
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(summary.evaluated);
  EXPECT_GT(summary.kl_mean, 0);
  EXPECT_EQ(summary.peak_device_bytes, 7U);
  EXPECT_EQ(file::parse_json(tiny_.published().at("awq_report.json"), "report").at("evaluation").value("device", ""),
            "cuda");
  EXPECT_NE(tiny_.published().at("README.md").find("16-bit activations on cuda"), std::string::npos);
}

/// One fsync() fails: a layer's, its hidden states', the journal's, which another thread than the quantizer's calls.
class FailingSync final : public test::UnsyncedSystem {
 public:
  explicit FailingSync(int at) : left_(at) {}
  int fsync(int) override {
    if (left_-- != 0) return 0;
    failed_ = true;
    errno = EIO;
    return -1;
  }
  bool failed() const { return failed_; }

 private:
  std::atomic<int> left_;
  std::atomic<bool> failed_ = false;
};

TEST_F(QuantizeDevice, WhatGoesWrongAsideEndsTheRunAndIsResumed) {
  const TinyQuantize reference;
  quantize::run(reference.options(), &choice_);
  const std::string expected = reference.published().at("model.safetensors");
  bool failed = true;
  int at = 0;
  for (; failed; ++at) {
    SCOPED_TRACE(at);
    const TinyQuantize tiny;
    QuantizeOptions options = tiny.options();
    {
      FailingSync failing(at);
      const file::ScopedSystem scope(failing);
      try {
        quantize::run(options, &choice_);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kIo) << error.what();
      }
      failed = failing.failed();
    }
    options.resume = true;
    quantize::run(options, &choice_);
    ASSERT_EQ(tiny.published().at("model.safetensors"), expected);
    ASSERT_FALSE(fs::exists(tiny.staging()));
  }
  EXPECT_GT(at, 6) << "layers, hidden states and records are synced";
}

TEST_F(QuantizeDevice, AnotherDeviceGoesOnOnlyWhenAllowed) {
  for (const bool begins_there : {false, true}) {
    SCOPED_TRACE(begins_there);
    const quantize::DeviceChoice* first = begins_there ? &choice_ : nullptr;
    const quantize::DeviceChoice* second = begins_there ? nullptr : &choice_;
    stop_behind_first(first);
    QuantizeOptions resume = options();
    resume.resume = true;
    const std::string error = test::error_of(ErrorCode::kInvalidArgument, [&] { quantize::run(resume, second); });
    EXPECT_NE(error.find("--device"), std::string::npos) << error;
    EXPECT_NE(error.find("cuda"), std::string::npos) << error;
    resume.allow_device_change = true;
    quantize::run(resume, second);
    const file::Json found = layers();
    EXPECT_EQ(found.at(0).contains("device"), begins_there);
    EXPECT_EQ(found.at(1).contains("device"), !begins_there);
    EXPECT_TRUE(quantize::run(resume, first).already_complete);
    fs::remove_all(tiny_.output());
  }
}

TEST_F(QuantizeDevice, IsNeededOnlyForTheWork) {
  choice_.present = false;
  QuantizeOptions plan = options();
  plan.dry_run = true;
  std::string lines;
  plan.on_plan = [&](const std::string& line) { lines += line + "\n"; };
  EXPECT_EQ(quantize::run(plan, &choice_).planned_device_bytes, 16U * 16U);
  EXPECT_NE(lines.find("device   0.0 MB"), std::string::npos) << lines;
  test::error_of(ErrorCode::kDevice, [&] { quantize::run(options(), &choice_); });
  EXPECT_FALSE(fs::exists(tiny_.staging()));
}

TEST_F(QuantizeDevice, WithTooLittleMemoryIsRefused) {
  choice_.free = 255;
  const std::string error = test::error_of(ErrorCode::kOutOfMemory, [&] { quantize::run(options(), &choice_); });
  EXPECT_NE(error.find("device memory"), std::string::npos) << error;
  EXPECT_FALSE(fs::exists(tiny_.staging()));
}

TEST_F(QuantizeDevice, HasNoPartInSomeMethods) {
  QuantizeOptions rounding = options();
  rounding.method = "rtn";
  test::error_of(ErrorCode::kInvalidArgument, [&] { quantize::run(rounding, &choice_); });
  QuantizeOptions paper = options();
  paper.recipe = "paper";
  test::error_of(ErrorCode::kInvalidArgument, [&] { quantize::run(paper, &choice_); });
}

}  // namespace
}  // namespace awq
