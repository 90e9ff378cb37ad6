#!/usr/bin/env python3
"""GET /metrics: the names of vLLM and our own, their buckets, and what they count."""
import math
import re

from server_support import PROMPT, ServerCase
from support import SOURCE, run_tests

GAUGES = ["num_requests_running", "num_requests_waiting", "num_requests_waiting_by_reason", "kv_cache_usage_perc", "cache_config_info"]
COUNTERS = ["prompt_tokens_total", "prompt_tokens_by_source_total", "prompt_tokens_cached_total", "generation_tokens_total", "request_success_total",
            "num_preemptions_total", "prefix_cache_queries_total", "prefix_cache_hits_total", "spec_decode_num_drafts_total",
            "spec_decode_num_draft_tokens_total", "spec_decode_num_accepted_tokens_total", "spec_decode_num_accepted_tokens_per_pos_total"]
HISTOGRAMS = ["request_prompt_tokens", "request_generation_tokens", "request_max_num_generation_tokens", "request_params_max_tokens",
              "request_prefill_kv_computed_tokens", "request_params_n", "iteration_tokens_total", "time_to_first_token_seconds",
              "inter_token_latency_seconds", "request_time_per_output_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds",
              "request_inference_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds"]


class Metrics(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share("--served-model-name", "books", "--spec-tokens", 2)

    def test_metrics(self):
        before = self.server.metrics()
        self.good(self.server.complete(PROMPT, max_tokens=5, ignore_eos=True))
        after = self.server.metrics()
        for name, grown in (("vllm:generation_tokens_total", 5), ("vllm:e2e_request_latency_seconds_count", 1),
                            ("vllm:time_to_first_token_seconds_count", 1), ("vllm:inter_token_latency_seconds_count", 4),
                            ('vllm:request_success_total{finished_reason="length"}', 1)):
            self.assertEqual(after[name] - before[name], grown, name)
        for name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"):
            self.assertIn(name, after)
        self.assertEqual(after['awq:limit{limit="max-n"}'], 128)
        self.assertEqual(len([n for n in after if n.startswith("awq:limit_hits_total")]),
                         len([n for n in after if n.startswith("awq:limit{")]))

    def test_metrics_have_their_names(self):
        """All of vLLM's that mean something here, of the right kind, and what docs/serving.md says of them."""
        self.good(self.server.complete(PROMPT, max_tokens=2, ignore_eos=True))
        text = self.server.get("/metrics").body.decode()
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        kind_of = {"gauge": GAUGES, "counter": COUNTERS, "histogram": HISTOGRAMS}
        for kind, names in kind_of.items():
            for name in names:
                self.assertEqual(kinds.get("vllm:" + name), kind, name)
        self.assertEqual({name for name in kinds if name.startswith("vllm:")}, {"vllm:" + name for names in kind_of.values() for name in names})
        docs = (SOURCE / "docs" / "serving.md").read_text()
        for name in kinds:
            self.assertIn(name.removeprefix("vllm:"), docs)
        metrics = self.server.metrics()
        info = next(line for line in text.splitlines() if line.startswith("vllm:cache_config_info{"))
        for label in ('block_size="16"', 'cache_dtype="', 'num_gpu_blocks="', 'enable_prefix_caching="True"', 'model_name="books"'):
            self.assertIn(label, info)
        self.assertTrue(info.endswith("} 1"), info)
        waiting = [metrics[f'vllm:num_requests_waiting_by_reason{{reason="{reason}"}}'] for reason in ("capacity", "deferred")]
        self.assertEqual(sum(waiting), metrics["vllm:num_requests_waiting"])
        # Dashboards that add up buckets need those of vLLM among ours.
        for names, least in ((("time_to_first_token_seconds",), [.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560]),
                             (("inter_token_latency_seconds", "request_time_per_output_token_seconds"),
                              [.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]),
                             (("e2e_request_latency_seconds", "request_queue_time_seconds", "request_inference_time_seconds", "request_prefill_time_seconds",
                               "request_decode_time_seconds"), [.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680]),
                             (("request_prompt_tokens", "request_generation_tokens", "request_max_num_generation_tokens", "request_params_max_tokens",
                               "request_prefill_kv_computed_tokens"), [1, 2, 5, 10, 20, 50, 100, 200]),
                             (("request_params_n",), [1, 2, 5, 10, 20]),
                             (("iteration_tokens_total",), [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384])):
            for name in names:
                found = [float(le) for le in re.findall(rf'^vllm:{name}_bucket{{.*le="([^"]+)"}}', text, re.M)]
                self.assertLessEqual(set(least), set(found), name)
                if "tokens" in name:  # the context has 256
                    self.assertEqual(found, [*least, math.inf], name)

    def test_metrics_of_a_request(self):
        before = self.server.metrics()
        self.good(self.server.complete([9] * 20 + [7], max_tokens=6, n=3, temperature=1, ignore_eos=True))
        after = self.server.metrics()
        for name, grown in (("request_prompt_tokens_sum", 21), ("request_generation_tokens_sum", 18), ("request_max_num_generation_tokens_sum", 6),
                            ("request_params_max_tokens_sum", 6), ("request_params_n_sum", 3), ("request_prefill_kv_computed_tokens_sum", 21),
                            ("prompt_tokens_total", 21), ("prompt_tokens_cached_total", 0)):
            self.assertEqual(after["vllm:" + name] - before["vllm:" + name], grown, name)


if __name__ == "__main__":
    run_tests()
