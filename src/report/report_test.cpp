#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "awq/error.h"
#include "report/charts.h"
#include "report/comparison_page.h"
#include "report/svg.h"

namespace awq::report {
namespace {

TEST(Svg, EscapesWhatAPageWouldTakeForMarkup) {
  EXPECT_EQ(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(escape("größe 名 \xF0\x9F\x98\x80"), "größe 名 \xF0\x9F\x98\x80");
  EXPECT_EQ(escape("a\xFF\xC3(\x01"), "a\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD");
}

TEST(Axis, PlacesValuesAndTicks) {
  const Axis linear(0, 10, 100, 200, false);
  EXPECT_EQ(linear.at(5), 150);
  EXPECT_EQ(linear.ticks(6), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  const Axis logarithmic(1, 100, 0, 100, true);
  EXPECT_EQ(logarithmic.at(10), 50);
  EXPECT_EQ(logarithmic.ticks(10), (std::vector<double>{1, 2, 5, 10, 20, 50, 100}));
  EXPECT_EQ(logarithmic.ticks(3), (std::vector<double>{1, 10, 100}));
  // No room between the ends is widened, many decades are thinned out.
  EXPECT_EQ(Axis(3, 3, 0, 100, false).at(3), 50);
  EXPECT_LE(Axis(1e-9, 1e9, 0, 1, true).ticks(8).size(), 8U);
  EXPECT_GE(Axis(1e-9, 1e9, 0, 1, true).ticks(8).size(), 4U);
}

TEST(Numbers, AreShort) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.0123456), "0.0123");
  EXPECT_EQ(short_number(1234.5), "1234");
  EXPECT_EQ(short_number(0.0000123), "1.2e-05");
  EXPECT_EQ(px(1.5), "1.5");
  EXPECT_EQ(px(-0.001), "0");
  EXPECT_EQ(px(100), "100");
}

Comparison example() {
  Comparison c;
  c.model_name = "a <model> & \"more\"";
  c.text_name = "text.txt";
  c.calibration_name = "the built-in text";
  c.machine = "avx2, 2 threads";
  c.tokens = 1000;
  c.windows = 3;
  c.parameters = 12'000'000;
  c.base = {.name = "original", .is_file = true, .file_bytes = 24'000'000, .bits_per_weight = 16, .perplexity = 9};
  for (int i = 0; i < 3; ++i) {
    ComparedMethod m{.name = i == 0 ? "rtn" : i == 1 ? "awq" : "gguf-q8_0"};
    m.file_bytes = static_cast<std::uint64_t>(8'000'000 + i * 2'000'000);
    m.bits_per_weight = 5 + i;
    m.perplexity = 9.5;
    m.kl_mean = 0.01 / (i + 1);
    m.kl_stderr = 0.001;
    m.layers = {{.attention = 1e-3, .mlp = 2e-3, .accumulated = 1e-3},
                {.attention = 0, .mlp = 1e-3, .accumulated = 2e-3}};
    c.methods.push_back(m);
  }
  c.methods.push_back({.name = "fp8", .skipped = "nothing is left to quantize <here>"});
  c.channels = {.layer = 1, .site = "MLP input", .method = "awq", .before = {9, 3, 1}, .after = {3, 2, 1}};
  c.linear = "model.layers.1.mlp.gate_proj";
  c.codes = {{.method = "awq", .code_share = std::vector<double>(16, 1.0 / 16), .steps = {0.1F, 0.2F, 0.3F}}};
  return c;
}

std::size_t count_of(const std::string& text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ComparisonPage, HoldsNumbersAndPictures) {
  const std::string page = comparison_page(example());
  for (const char* part : {"a &lt;model&gt; &amp; &quot;more&quot;", "Size against loss", "0.010000", "gguf-q8_0",
                           "nothing is left to quantize &lt;here&gt;", "Salient channels", "Use of the codes",
                           "prefers-color-scheme:dark", "name=\"viewport\""}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(page.find("<model>"), std::string::npos);
  EXPECT_GE(count_of(page, "<svg "), 6U);
  EXPECT_EQ(count_of(page, "<svg "), count_of(page, "</svg>"));
}

TEST(ComparisonPage, RefersToNoOtherFile) {
  const std::string page = comparison_page(example());
  for (const char* part : {"http:", "https:", "src=", "url(", "@import", "<link", "href="}) {
    EXPECT_EQ(page.find(part), std::string::npos) << part;
  }
}

TEST(ComparisonPage, SurvivesNumbersThatCannotBeDrawn) {
  Comparison c = example();
  c.methods[0].kl_mean = 0;
  c.methods[1].layers[0].attention = std::numeric_limits<double>::quiet_NaN();
  c.channels = {};
  c.codes.clear();
  for (ComparedMethod& m : c.methods) m.skipped = m.name == "awq" ? "" : "no";
  const std::string page = comparison_page(c);
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf"), std::string::npos);
  EXPECT_EQ(page.find("Salient channels"), std::string::npos);
}

TEST(QuantizationPage, ReadsTheReport) {
  const file::Json report = file::parse_json(R"({"method":"awq","bits":4,"group_size":128,"format":"awq",
      "evaluation":{"text":"t","tokens":10,"perplexity":9.5,"base_perplexity":9.0,"kl_mean":0.01},
      "unquantized":[{"name":"lm.x","reason":"because"}],
      "layers":[{"layer":0,"sites":{"mlp":{"alpha":0.5},"o":{"alpha":null}},
                 "linears":[{"name":"model.layers.0.q_proj","error_before":0.02,"error_after":0.01}]},
                {"layer":1,"sites":{"mlp":{"alpha":0.4}},
                 "linears":[{"name":"model.layers.1.q_proj","error_before":0.03,"error_after":0.01}]}]})",
                                             "r");
  const std::string page = quantization_page(report, file::Json(), "m", "r");
  for (const char* part : {"m, quantized", "9.5000", "q_proj", "Before and after the search", "because"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  try {
    quantization_page(file::parse_json(R"({"layers":3})", "r"), file::Json(), "m", "r.json");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
    EXPECT_NE(std::string(error.what()).find("r.json: layers"), std::string::npos);
  }
}

}  // namespace
}  // namespace awq::report
