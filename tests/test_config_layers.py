"""What a configuration says of the deployment's own map: what is taken, and what is refused with which words."""

from pathlib import Path

import pytest

from edge_agent.command.layers import MapLayer, TileSource, find_tiles, layers_json
from edge_agent.config import ConfigError, load_config
from edge_agent.registry import Plugins
from tests.test_config import write
from tests.web.tiles import Tile, png, write_archive, write_folder

PLUGINS = Plugins(transports={}, drivers={})
NODE = '[node]\nid = "command"\nrole = "command"\n[security]\nsecret_file = "secret.key"\n'
REST = 'datum = "CGCS2000"\napproval = "GS(2025)0001"\n'
GREY = png(128, 128, 128)
WORLD = {Tile(0, 0, 0): GREY, Tile(1, 1, 0): GREY}


def _problems(folder: Path, text: str, node: str = NODE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, node + text), PLUGINS)
    return [str(problem) for problem in caught.value.problems]


def test_an_archive_and_a_folder_are_layers_with_datum_and_approval(tmp_path: Path) -> None:
    """Paths count from the file; zooms come from the tiles themselves; the page is told what stands on the map."""
    write_archive(tmp_path / "sea.pmtiles", WORLD)
    write_folder(tmp_path / "town", {Tile(12, 3424, 1680): GREY})
    text = (
        f'[[layer]]\nname = "海图"\nfile = "sea.pmtiles"\n{REST}attribution = "海事"\n'
        '[[layer]]\nname = "城区"\nfolder = "town"\ndatum = "WGS-84"\napproval = "浙S(2026)12"\n'
    )
    sea, town = load_config(write(tmp_path, NODE + text), PLUGINS).layers
    assert sea.source == TileSource(path=tmp_path / "sea.pmtiles", suffix="", min_zoom=0, max_zoom=1)
    assert town.source == TileSource(path=tmp_path / "town", suffix=".png", min_zoom=12, max_zoom=12)
    told = layers_json((sea, town))
    assert [each["url"] for each in told] == ["/layers/0", "/layers/1/{z}/{x}/{y}"]
    assert (told[0]["approval"], told[0]["attribution"], told[1]["datum"]) == ("GS(2025)0001", "海事", "WGS-84")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('file = "no.pmtiles"', 'layer[a].file = "no.pmtiles": cannot be read: No such file or directory; allowed: a'),
        (
            'file = "text.pmtiles"',
            "layer[a].file = \"text.pmtiles\": begins with b'not til', not with b'PMTiles'; allowed",
        ),
        ('file = "short.pmtiles"', 'layer[a].file = "short.pmtiles": is cut off in its header, after 100 of 127 bytes'),
        ('file = "cut.pmtiles"', 'layer[a].file = "cut.pmtiles": is cut off after '),
        ('file = "old.pmtiles"', 'layer[a].file = "old.pmtiles": is of PMTiles version 2; allowed: a PMTiles archive'),
        ('file = "vector.pmtiles"', 'layer[a].file = "vector.pmtiles": has tiles of type vector (mvt); allowed: a'),
        ('file = "deep.pmtiles"', 'layer[a].file = "deep.pmtiles": has zooms 0 to 23, not within 0 to 22; allowed: a'),
        ('file = "zstd.pmtiles"', 'layer[a].file = "zstd.pmtiles": has directories compressed by zstd, not by gzip'),
        ('file = "."', 'layer[a].file = ".": cannot be read: Is a directory; allowed: a PMTiles archive'),
        ('folder = "no"', 'layer[a].folder = "no": cannot be read: No such file or directory; allowed: a folder of'),
        ('folder = "."', 'layer[a].folder = ".": has no folder that is named by a zoom; allowed: a folder of tiles'),
        ('folder = "bare"', 'layer[a].folder = "bare": has no tile; allowed: a folder of tiles ZOOM/X/Y'),
        ("", "layer[a] is not possible: give exactly one of file and folder"),
        ('file = "good.pmtiles"\nfolder = "bare"', "layer[a] is not possible: give exactly one of file and folder"),
        (
            'file = "https://tiles.example/a.pmtiles"',
            'layer[a].file = "https://tiles.example/a.pmtiles": cannot be read',
        ),
    ],
)
def test_tiles_that_cannot_be_shown_are_refused_before_anything_starts(
    tmp_path: Path, text: str, expected: str
) -> None:
    write_archive(tmp_path / "good.pmtiles", WORLD)
    good = (tmp_path / "good.pmtiles").read_bytes()
    (tmp_path / "text.pmtiles").write_text("not tiles at all")
    (tmp_path / "short.pmtiles").write_bytes(good[:100])
    (tmp_path / "cut.pmtiles").write_bytes(good[:-1])
    (tmp_path / "deep.pmtiles").write_bytes(good[:101] + bytes([23]) + good[102:])
    (tmp_path / "zstd.pmtiles").write_bytes(good[:97] + bytes([4]) + good[98:])
    write_archive(tmp_path / "old.pmtiles", WORLD, version=2)
    write_archive(tmp_path / "vector.pmtiles", WORLD, tile_type=1)
    (tmp_path / "bare/3").mkdir(parents=True)
    problems = _problems(tmp_path, f'[[layer]]\nname = "a"\n{REST}{text}\n')
    assert len(problems) == 1, problems
    assert problems[0].partition(": ")[2].startswith(expected), problems


def test_another_datum_is_refused_with_the_reason(tmp_path: Path) -> None:
    """GCJ-02 tiles would put each mark up to 700 m from its place; nobody would see it."""
    write_archive(tmp_path / "a.pmtiles", WORLD)
    text = '[[layer]]\nname = "a"\nfile = "a.pmtiles"\ndatum = "GCJ-02"\napproval = "x"\n'
    [problem] = _problems(tmp_path, text)
    assert 'layer[a].datum = "GCJ-02": allowed: WGS-84, CGCS2000; tiles in GCJ-02 are up to 700 m off' in problem


def test_what_must_be_said_of_a_map_is_asked_for_all_at_once(tmp_path: Path) -> None:
    """Name, datum and approval are missing here, and a kit has no map at all."""
    write_archive(tmp_path / "a.pmtiles", WORLD)
    node = '[node]\nid = "kit-1"\n[security]\nsecret_file = "secret.key"\n'
    problems = "\n".join(_problems(tmp_path, '[[layer]]\nfile = "a.pmtiles"\n', node))
    for part in ("name is missing", "datum is missing", "approval is missing", 'only the page of role = "command"'):
        assert part in problems


def test_an_address_leads_to_tiles_of_its_layer_and_nowhere_else(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.pmtiles", WORLD)
    write_folder(tmp_path / "b", {Tile(3, 2, 1): GREY})
    archive = TileSource(path=tmp_path / "a.pmtiles", suffix="", min_zoom=0, max_zoom=1)
    folder = TileSource(path=tmp_path / "b", suffix=".png", min_zoom=3, max_zoom=3)
    layers = [
        MapLayer(name=str(source.path), datum="WGS-84", approval="x", attribution="", source=source)
        for source in (archive, folder)
    ]
    assert find_tiles(layers, [0]) == tmp_path / "a.pmtiles"
    assert find_tiles(layers, [1, 3, 2, 1]) == tmp_path / "b/3/2/1.png"
    for numbers in ([2], [1], [0, 3, 2, 1], [1, 3, 2, 2]):
        assert find_tiles(layers, numbers) is None
