#!/usr/bin/env python3
"""Turns a list of areas into what `borg create --map` of borg 2 reads: borg_map.py AREAS.json IMAGE zero|same."""
import json, os, sys


def main():
    areas, image, between = sys.argv[1:]
    size, at = os.path.getsize(image), 0
    for area in json.load(open(areas)):
        start, end = area["start"], min(area["start"] + area["length"], size)
        if start > at: print(at, start - at, between)
        print(start, end - start, "data")
        at = end
    if at < size: print(at, size - at, between)


if __name__ == "__main__":
    main()
