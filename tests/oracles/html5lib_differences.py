"""Where we differ from html5lib's tests, and why: name of the test to reason."""

UNDECLARED = {
    "encoding/tests1.dat": [1, 7, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 25, 26, 29, 30, 31, 34, 35, 36],
    "encoding/tests2.dat": [1, 2, 3, 4, 5, 9, 10, 12, 13, 14, 16],
}
"""Pages that declare nothing, in ASCII."""

SCRIPTED = {"encoding/tests1.dat": [55]}
"""Pages that a script would go on writing."""

SELECT = {
    "tree-construction/menuitem-element.dat": [14],
    "tree-construction/tests1.dat": [30, 102],
    "tree-construction/tests10.dat": [4, 5, 17, 18],
    "tree-construction/tests18.dat": [14, 15],
    "tree-construction/tests7.dat": [31],
    "tree-construction/tests9.dat": [5, 6, 18, 19],
}
"""Elements inside of a `select`."""

REASONS = [
    (UNDECLARED, "what declares nothing and is UTF-8 is read as that, not as windows-1252"),
    (SCRIPTED, "no script runs here"),
    (SELECT, "the standard has let a select hold more than options since 2025, after these tests"),
]

DIFFERENCES = {f"{file}#{n}": why for tests, why in REASONS for file, numbers in tests.items() for n in numbers}
