"""Names with their readings, paired by hand: a reading can't be guessed from the characters.

Homonyms are meant. 陽子 and 洋子 read alike, 佐藤 陽子 occurs twice in a large chain, and only the id tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

FAMILY = (
    ("佐藤", "サトウ"),
    ("鈴木", "スズキ"),
    ("高橋", "タカハシ"),
    ("田中", "タナカ"),
    ("伊藤", "イトウ"),
    ("伊東", "イトウ"),
    ("渡辺", "ワタナベ"),
    ("渡邊", "ワタナベ"),
    ("山本", "ヤマモト"),
    ("中村", "ナカムラ"),
    ("小林", "コバヤシ"),
    ("加藤", "カトウ"),
    ("吉田", "ヨシダ"),
    ("山田", "ヤマダ"),
    ("佐々木", "ササキ"),
    ("山口", "ヤマグチ"),
    ("松本", "マツモト"),
    ("井上", "イノウエ"),
    ("木村", "キムラ"),
    ("林", "ハヤシ"),
    ("斎藤", "サイトウ"),
    ("齋藤", "サイトウ"),
    ("清水", "シミズ"),
    ("東", "アズマ"),
    ("東", "ヒガシ"),
    ("河野", "コウノ"),
    ("河野", "カワノ"),
    ("髙橋", "タカハシ"),
    ("𠮷田", "ヨシダ"),  # outside the basic plane: four bytes in UTF-8
)
GIVEN = (
    ("陽子", "ヨウコ"),
    ("洋子", "ヨウコ"),
    ("美咲", "ミサキ"),
    ("翔太", "ショウタ"),
    ("健太", "ケンタ"),
    ("愛", "アイ"),
    ("大輔", "ダイスケ"),
    ("直樹", "ナオキ"),
    ("恵子", "ケイコ"),
    ("真由美", "マユミ"),
    ("隆", "タカシ"),
    ("孝", "タカシ"),
    ("薫", "カオル"),
    ("裕子", "ユウコ"),
    ("結衣", "ユイ"),
    ("蓮", "レン"),
    ("拓也", "タクヤ"),
    ("千尋", "チヒロ"),
)
BRANDS = (
    ("さくら", "サクラ", "sakura"),
    ("みどり", "ミドリ", "midori"),
    ("すずらん", "スズラン", "suzuran"),
    ("あおぞら", "アオゾラ", "aozora"),
    ("ひまわり", "ヒマワリ", "himawari"),
    ("つばめ", "ツバメ", "tsubame"),
    ("なのはな", "ナノハナ", "nanohana"),
    ("やまびこ", "ヤマビコ", "yamabiko"),
)
PLACES = (
    ("札幌", "サッポロ", "北海道"),
    ("仙台", "センダイ", "宮城県"),
    ("大宮", "オオミヤ", "埼玉県"),
    ("千葉", "チバ", "千葉県"),
    ("新宿", "シンジュク", "東京都"),
    ("荻窪", "オギクボ", "東京都"),
    ("横浜", "ヨコハマ", "神奈川県"),
    ("金沢", "カナザワ", "石川県"),
    ("静岡", "シズオカ", "静岡県"),
    ("名古屋", "ナゴヤ", "愛知県"),
    ("京都", "キョウト", "京都府"),
    ("梅田", "ウメダ", "大阪府"),
    ("神戸", "コウベ", "兵庫県"),
    ("岡山", "オカヤマ", "岡山県"),
    ("広島", "ヒロシマ", "広島県"),
    ("高松", "タカマツ", "香川県"),
    ("博多", "ハカタ", "福岡県"),
    ("那覇", "ナハ", "沖縄県"),
)
SPOTS = (
    ("駅前", "エキマエ"),
    ("中央", "チュウオウ"),
    ("病院前", "ビョウインマエ"),
    ("東口", "ヒガシグチ"),
    ("西口", "ニシグチ"),
    ("本町", "ホンマチ"),
)
# What a company is called after it was renamed, and renamed again.
ENDINGS = (
    ("", ""),
    ("グループ", "グループ"),
    ("ホールディングス", "ホールディングス"),
    ("・新", "シン"),
)
AREAS = (
    ("東日本", "ヒガシニホン"),
    ("西日本", "ニシニホン"),
    ("首都圏", "シュトケン"),
    ("関西", "カンサイ"),
)


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    kana: str


def person(random: Random) -> Named:
    family, given = random.choice(FAMILY), random.choice(GIVEN)
    return Named(f"{family[0]} {given[0]}", f"{family[1]} {given[1]}")


def branch(brand: tuple[str, str, str], number: int) -> tuple[Named, str]:
    """The chain's nth pharmacy and its prefecture; no two of a chain share a name."""
    place = PLACES[number % len(PLACES)]
    around, spot = divmod(number // len(PLACES), len(SPOTS))
    count = "" if around == 0 else f"第{around + 1}"
    count_kana = "" if around == 0 else f"ダイ{around + 1}"
    return (
        Named(
            f"{brand[0]}薬局 {place[0]}{SPOTS[spot][0]}{count}店",
            f"{brand[1]}ヤッキョク {place[1]}{SPOTS[spot][1]}{count_kana}テン",
        ),
        place[2],
    )
