// Util.cpp of Ice 3.6 asks for PyThreadState_GET()->frame, to name the calling function in a
// message. Since Python 3.11 the state of a thread has no such member; PyEval_GetFrame gives the
// same borrowed reference. Included before everything else, in C++ only.
#if defined(__cplusplus) && !defined(PARFOCAL_CURRENT_FRAME_H)
#define PARFOCAL_CURRENT_FRAME_H

#include <Python.h>

#if PY_VERSION_HEX >= 0x030B0000

class CurrentFrame
{
public:
    PyFrameObject* frame;

    CurrentFrame() : frame(PyEval_GetFrame()) {}
    const CurrentFrame* operator->() const { return this; }
};

#undef PyThreadState_GET
#define PyThreadState_GET CurrentFrame

#endif
#endif
