"""Writes recipes.pdf, which the agent reads: a recipe on each page, in the letters that every PDF reader has.

python samples/agno/pdf_knowledge/make_recipes.py
"""

import textwrap
from pathlib import Path

RECIPES = {
    "Barley soup": """
        Cook 150 g of pearl barley in two litres of broth for an hour. Add diced carrots, leek and celery after
        half of the time. Season with lovage and a spoon of sour cream. Serves four, with rye bread.
    """,
    "Lentil salad": """
        Boil 200 g of black lentils for 20 minutes and let them cool. Mix with walnuts, parsley and thin slices
        of red onion. Dress with mustard, vinegar and oil. Keeps for two days in the refrigerator.
    """,
    "Apple cake": """
        Stir 200 g of butter with sugar and four eggs, then fold in flour and baking powder. Press quartered
        apples into the dough and bake for 45 minutes at 180 degrees. Dust with icing sugar and serve with
        cream.
    """,
    "Potato pancakes": """
        Grate a kilogram of potatoes and press out the water. Mix with an egg, a spoon of flour, salt and
        nutmeg. Fry in hot lard until both sides are brown. Serve with stewed plums.
    """,
    "Stuffed peppers": """
        Hollow out six green peppers and fill them with minced beef, rice and paprika powder. Stew them for an
        hour in tomato sauce with a bay leaf. They taste even better on the next day.
    """,
    "Mountain tea": """
        Pour boiling water over dried thyme, mint and a slice of ginger. Leave it for eight minutes, strain it,
        and sweeten it with honey. Good against a cold, before going to bed.
    """,
    "Wachauer torte": """
        Whip six egg whites and fold in ground almonds and grated chocolate. Bake two thin layers, and put them
        together with a cream of coffee and cocoa. Cool it overnight before it is cut.
    """,
}


def page(title: str, text: str) -> str:
    """What is drawn on a page."""
    lines = [f"BT /F1 20 Tf 72 760 Td ({title}) Tj /F1 12 Tf 0 -36 Td 16 TL"]
    lines += [f"({line}) Tj T*" for line in textwrap.wrap(" ".join(text.split()), 80)]
    return "\n".join([*lines, "ET"])


def pdf(pages: list[str]) -> bytes:
    """A document of A4 pages: the catalog, the pages, the font, and each page with its content."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} /MediaBox [0 0 595 842] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for content in pages:
        drawn = f"{len(objects) + 2} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 3 0 R >> >> /Contents {drawn} >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    body, places = "%PDF-1.4\n", []
    for number, written in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{written}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    tail = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return (body + head + table + tail).encode("ascii")


if __name__ == "__main__":
    path = Path(__file__).with_name("recipes.pdf")
    path.write_bytes(pdf([page(title, text) for title, text in RECIPES.items()]))
    print(path)
