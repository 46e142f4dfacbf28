"""Both ways to embed give the same vectors, whatever the script: what one wrote, the other finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.models.embedding import WorkerEmbedder
from agentkit.spawn import LocalSpawner
from agentkit_memory import MiniLMEmbedder

TEXTS = {
    "Latin": "The ferry leaves at seven, and nobody waits for those who are late.",
    "Latin with marks": "Chuyến phà khởi hành lúc bảy giờ và không đợi ai đến muộn.",
    "Cyrillic": "Паром отходит в семь часов, и опоздавших никто не ждёт.",
    "Greek": "Το πλοίο φεύγει στις επτά και κανείς δεν περιμένει όσους αργούν.",  # noqa: RUF001
    "Arabic": "تغادر العبارة في السابعة ولا أحد ينتظر المتأخرين.",
    "Devanagari": "नौका सात बजे निकलती है और देर से आने वालों का कोई इंतज़ार नहीं करता।",
    "Hebrew": "המעבורת יוצאת בשבע, ואיש אינו מחכה למאחרים.",
    "Thai": "เรือข้ามฟากออกเวลาเจ็ดโมง และไม่มีใครรอคนที่มาสาย",
    "Chinese": "渡轮七点开船，没有人等迟到的乘客。",  # noqa: RUF001
    "Japanese": "フェリーは七時に出発し、遅れた人を待つことはありません。",
    "Korean": "배는 일곱 시에 떠나며 늦은 사람을 기다려 주지 않는다.",
}


@pytest.mark.model
@pytest.mark.slow
def test_light_and_bulk_embedder_agree_in_ten_scripts(minilm_path: Path) -> None:
    texts = [*TEXTS.values(), " ".join(TEXTS.values()), "🦊 x = 3;"]
    light = MiniLMEmbedder(minilm_path)
    bulk = WorkerEmbedder(minilm_path, LocalSpawner(), name=light.name, dimensions=light.dimensions)
    try:
        ours, theirs = light.embed(texts), bulk.embed(texts)
    finally:
        bulk.close()
    cosines = (ours * theirs).sum(axis=1)
    assert {name: float(cosine) for name, cosine in zip(TEXTS, cosines, strict=False) if cosine < 0.999} == {}
    assert cosines.min() >= 0.999
