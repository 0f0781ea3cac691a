"""What a new database holds: groups, users and enumerations."""

from __future__ import annotations

from .entities import Details, Entity
from .model import kind_of
from .store import Store

__all__ = ["seed"]

_GROUPS = {
    "system": "rw----",
    "user": "rwr-r-",
    "guest": "rw----",
    "annotate": "rwra--",
    "private": "rw----",
    "readonly": "rwr---",
    "write": "rwrw--",
}
_USERS = {
    "root": ("omero", ["system", "user"]),
    "guest": ("guest", ["guest"]),
    "alice": ("alice", ["annotate", "private", "readonly", "write", "user"]),
    "bob": ("bob", ["annotate", "private", "readonly", "write", "user"]),
    "carol": ("carol", ["write", "user"]),
}
_OWNERS = {("alice", "annotate"), ("root", "system"), ("root", "user")}
_PIXELS_TYPES = {
    "bit": 1,
    "int8": 8,
    "int16": 16,
    "int32": 32,
    "uint8": 8,
    "uint16": 16,
    "uint32": 32,
    "float": 32,
    "double": 64,
    "complex": 64,
    "double-complex": 128,
}
_ENUMERATIONS = {
    "AcquisitionMode": "Other Unknown WideField LaserScanningConfocalMicroscopy "
    "SpinningDiskConfocal SlitScanConfocal MultiPhotonMicroscopy StructuredIllumination "
    "SingleMoleculeImaging TotalInternalReflection FluorescenceLifetime SpectralImaging PALM STORM "
    "STED LSM SPIM",
    "ArcType": "Other Unknown Hg HgXe Xe",
    "Binning": "Other Unknown 1x1 2x2 4x4 8x8",
    "ChecksumAlgorithm": "Adler-32 CRC-32 File-Size-64 MD5-128 Murmur3-32 Murmur3-128 SHA1-160",
    "ContrastMethod": "Other Unknown Brightfield Phase DIC HoffmanModulation ObliqueIllumination "
    "PolarizedLight Darkfield Fluorescence",
    "Correction": "Other Unknown Achromat Achro Apo Fl Fluor Fluotar Fluar Neofluar PlanApo "
    "PlanFluor PlanNeofluar SuperFluor UV VioletCorrected",
    "DetectorType": "Other Unknown CCD IntensifiedCCD AnalogVideo PMT Photodiode Spectroscopy "
    "LifetimeImaging CorrelationSpectroscopy FTIR EMCCD APD CMOS EBCCD",
    "DimensionOrder": "XYZCT XYZTC XYCTZ XYCZT XYTCZ XYTZC",
    "EventType": "Bootstrap Import Internal Shoola User Task Test Processing FullText Sessions",
    "Family": "linear polynomial exponential logarithmic",
    "FilterType": "Other Unknown LongPass ShortPass BandPass MultiPass Dichroic NeutralDensity "
    "Tuneable",
    "Format": "OMERO PNG JPEG TIFF OMETiff OMEXML Tiff CellWorx DV ND2 LEI ZeissCZI "
    "Companion/OME-TIFF Fake SimulatedSCREEN HDF5 text/csv",
    "Illumination": "Other Unknown Transmitted Epifluorescence Oblique NonLinear",
    "Immersion": "Other Unknown Oil Water WaterDipping Air Multi Glycerol",
    "JobStatus": "Submitted Resubmitted Queued Requeued Running Error Waiting Finished Cancelled",
    "LaserMedium": "Other Unknown Ar Kr Xe Cu Ag N KrF XeF ArF CO CO2 H2O HFl NdYAG GaAs",
    "LaserType": "Other Unknown Excimer Gas MetalVapor SolidState Dye Semiconductor FreeElectron",
    "Medium": "Other Unknown Air Oil Water Glycerol",
    "MicroscopeType": "Other Unknown Upright Inverted Dissection Electrophysiology",
    "PhotometricInterpretation": "RGB ARGB CMYK HSV Monochrome ColorMap",
    "ProjectionType": "maximum mean sum",
    "Pulse": "Other Unknown CW Single QSwitched Repetitive ModeLocked",
    "RenderingModel": "rgb greyscale",
}
_PRIVILEGES = (
    "Chgrp Chown DeleteFile DeleteManagedRepo DeleteOwned DeleteScriptRepo ModifyGroup "
    "ModifyGroupMembership ModifyUser ReadSession Sudo WriteFile WriteManagedRepo WriteOwned "
    "WriteScriptRepo"
)


def _enumerations(store: Store) -> None:
    for value, bits in _PIXELS_TYPES.items():
        store.add("PixelsType", {"value": value, "bitSize": bits})
    for kind, values in {**_ENUMERATIONS, "AdminPrivilege": _PRIVILEGES}.items():
        for value in values.split():
            store.add(kind, {"value": value})


def _group(store: Store, name: str, permissions: str) -> Entity:
    details = Details(permissions=permissions)
    return store.add("ExperimenterGroup", {"name": name, "ldap": False}, details)


def _user(store: Store, name: str) -> Entity:
    values = {"omeName": name, "firstName": name.title(), "lastName": "Test", "ldap": False}
    return store.add("Experimenter", values)


def _zero_based(store: Store) -> None:
    """Number groups and users from 0: root and system have the ids that clients know."""
    for kind in ("Experimenter", "ExperimenterGroup"):
        store.number_from(kind_of(kind).root, 0)


def seed(store: Store) -> dict[str, str]:
    """Fill an empty database; return the passwords by user."""
    _zero_based(store)
    groups = {name: _group(store, name, permissions) for name, permissions in _GROUPS.items()}
    for name, (_, names) in _USERS.items():
        person = _user(store, name)
        for group in names:
            values = {"parent": groups[group], "child": person, "owner": (name, group) in _OWNERS}
            store.add("GroupExperimenterMap", values)
    store.add("Node", {"uuid": "main", "conn": "local", "up": 0})
    _enumerations(store)
    return {name: password for name, (password, _) in _USERS.items()}
