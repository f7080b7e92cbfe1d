source /tmp/str/env.sh
cd /tmp/str; R="python -m harness run gpu=cpu data=sample dtype=fp32 max_len=32"
for m in qwen3_chat_message/chat hidden_states_path/model; do rm -rf r s; $R model=/tmp/str/m2/$m tasks=[AFQMC,TNews] results_dir=r store=s 2>&1 | tail -12; done
