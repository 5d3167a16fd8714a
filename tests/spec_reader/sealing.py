"""Section 6: XChaCha20-Poly1305 with 64 bytes of associated data."""

from __future__ import annotations

import struct

from Crypto.Cipher import ChaCha20_Poly1305

from .errors import Damaged

DATA_FRAME, METADATA_FRAME, DATA_DIRECTORY, METADATA_DIRECTORY, LOG_BODY, KEY_SLOT = 1, 2, 3, 4, 5, 6
SEALING_BYTES = 24 + 16


def associated_data(
    kind: int, codec: int, epoch: int, plain_length: int, repository_id: bytes, object_id: bytes
) -> bytes:
    return struct.pack("<HBBIQ16s32s", 1, kind, codec, epoch, plain_length, repository_id, object_id)


def open_sealed(key: bytes, aad: bytes, sealed: bytes, what: str) -> bytes:
    if len(sealed) < SEALING_BYTES:
        raise Damaged(f"{what}: {len(sealed)} bytes are too few for a sealed object")
    cipher = ChaCha20_Poly1305.new(key=key, nonce=sealed[:24])
    cipher.update(aad)
    try:
        return cipher.decrypt_and_verify(sealed[24:-16], sealed[-16:])
    except ValueError:
        raise Damaged(f"{what}: does not authenticate") from None
