return { incarnation, version, position, ending, epoch }
