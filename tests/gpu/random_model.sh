# For the checks beside it: random weights in the shape of Llama-3-8B with a small vocabulary.
# random_model LAYERS FOLDER: a BF16 model with the tokenizer of books-12m.
random_model() {
  local shape
  shape=$(mktemp)
  cat >"$shape" <<JSON
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
 "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": $1, "vocab_size": 8192,
 "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "max_position_embeddings": 8192, "tie_word_embeddings": false,
 "torch_dtype": "bfloat16", "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}
JSON
  ./run make_random_model "$shape" "$2" >/dev/null || return 1
  rm "$shape"
  cp models/books-12m/tokenizer* models/books-12m/special_tokens_map.json "$2/"
}
