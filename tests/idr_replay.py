"""The Image Data Resource, as its web interface answers: for tests that replay it."""

import json

PROJECT = {"@id": 501, "Name": "idr0062-blin-nuclearsegmentation/experimentA"}
SCREEN = {"@id": 3, "Name": "idr0001-graml-sysgro/screenA"}
OTHER = {"@id": 502, "Name": "idr0062-blin-nuclearsegmentation/experimentB"}
SIZES = {"SizeT": 1, "SizeC": 2, "SizeZ": 3, "SizeY": 30, "SizeX": 20}
PIXELS = SIZES | {"Type": {"value": "uint16"}}


def image(number, name, **more):
    return {"@id": number, "Name": name, "Pixels": dict(PIXELS), "omero:series": 0} | more


class Idr:
    """What the replayed IDR knows: answers by path, annotations, original paths."""

    def __init__(self, web):
        self.web = web
        wells = [
            {"@id": 70, "Row": 0, "Column": 0, "WellSamples": [{"Image": image(81, "W A01 1")}]},
            {
                "@id": 71,
                "Row": 1,
                "Column": 10,
                "WellSamples": [
                    {"Image": image(82, "W B11 1")},
                    {"Image": image(83, "W B11 2")},
                    {},
                ],
            },
        ]
        self.lists = {
            "projects": [PROJECT, OTHER, {"@id": 9, "Name": "idr00620-other/experimentA"}],
            "screens": [SCREEN],
            "projects/501/datasets": [{"@id": 300, "Name": "Blastocysts"}],
            "projects/502/datasets": [],
            "datasets/300/images": [image(6001240, "B1_C1.tif"), image(6001247, "B4_C3.tif")],
            "screens/3/plates": [{"@id": 2551, "Name": "X_110222_S1"}],
            "plates/2551/wells": wells,
        }
        self.objects = {
            "projects/501": PROJECT,
            "projects/502": OTHER,
            "screens/3": SCREEN,
            "datasets/300": {"@id": 300},
        }
        self.objects |= {"plates/2551": self.lists["screens/3/plates"][0]}
        self.objects |= {"wells/70": wells[0], "wells/71": wells[1]}
        self.objects |= {f"images/{row['@id']}": row for row in self.lists["datasets/300/images"]}
        self.objects |= {f"images/{n}": image(n, f"W {n}") for n in (81, 82, 83)}
        self.name_channels(81, "DAPI", None)
        self.annotations = []
        self.paths = {}

    def annotate(self, kind, number, pairs=(), tag=None):
        row = {"link": {"parent": {"id": number, "class": f"{kind.capitalize()}I"}}}
        row |= {"textValue": tag} if tag else {"values": [list(pair) for pair in pairs]}
        self.annotations.append((kind, number, "tag" if tag else "map", row))

    def name_channels(self, number, *names):
        """Name the channels of an image, which are told of one image at a time only."""
        row = dict(self.objects[f"images/{number}"])
        channels = [{"@id": n} | ({"Name": name} if name else {}) for n, name in enumerate(names)]
        self.objects[f"images/{number}"] = row | {"Pixels": PIXELS | {"Channels": channels}}

    def answer(self, path, query):
        found = self.look_up(path.strip("/"), query)
        return None if found is None else json.dumps(found).encode()

    def look_up(self, path, query):
        asked = dict(query)
        if path.startswith("api/v0/m/"):
            path = path.removeprefix("api/v0/m/")
            if path in self.lists:
                rows, start = self.lists[path], int(asked["offset"])
                some = rows[start : start + min(2, int(asked["limit"]))]
                return {"data": some, "meta": {"totalCount": len(rows), "maxLimit": 2}}
            return {"data": self.objects[path]} if path in self.objects else None
        if path == "webclient/api/annotations":
            wanted = [(k, int(v)) for k, v in query if k in ("image", "well")]
            return {
                "annotations": [
                    row
                    for k, n, t, row in self.annotations
                    if (k, n) in wanted and t == asked["type"]
                ]
            }
        if path == "webclient/api/paths_to_object":
            return {"paths": [self.path_of(int(asked["image"]))]}
        if path.startswith("webgateway/original_file_paths/"):
            return {"repo": [], "client": self.paths.get(int(path.rsplit("/", 1)[-1]), [])}
        return None

    def path_of(self, number):
        if number > 1000:
            ids = {"project": 501, "dataset": 300}
        else:
            ids = {"screen": 3, "plate": 2551, "well": 70 if number == 81 else 71}
        return [{"type": kind, "id": ident} for kind, ident in (ids | {"image": number}).items()]
